import com.google.gson.Gson;
import eu.europa.esig.dss.diagnostic.DiagnosticData;
import eu.europa.esig.dss.diagnostic.PDFRevisionWrapper;
import eu.europa.esig.dss.diagnostic.SignatureWrapper;
import eu.europa.esig.dss.diagnostic.TimestampWrapper;
import eu.europa.esig.dss.diagnostic.jaxb.XmlObjectModification;
import eu.europa.esig.dss.enumerations.CertificationPermission;
import eu.europa.esig.dss.enumerations.SignatureLevel;
import eu.europa.esig.dss.enumerations.TimestampType;
import eu.europa.esig.dss.jaxb.object.Message;
import eu.europa.esig.dss.model.DSSDocument;
import eu.europa.esig.dss.model.FileDocument;
import eu.europa.esig.dss.model.InMemoryDocument;
import eu.europa.esig.dss.model.SignatureValue;
import eu.europa.esig.dss.model.ToBeSigned;
import eu.europa.esig.dss.model.x509.CertificateToken;
import eu.europa.esig.dss.pades.PAdESSignatureParameters;
import eu.europa.esig.dss.pades.SignatureImageParameters;
import eu.europa.esig.dss.pades.SignatureImageTextParameters;
import eu.europa.esig.dss.pades.signature.PAdESService;
import eu.europa.esig.dss.pades.validation.PDFDocumentValidator;
import eu.europa.esig.dss.service.tsp.OnlineTSPSource;
import eu.europa.esig.dss.simplereport.SimpleReport;
import eu.europa.esig.dss.spi.DSSUtils;
import eu.europa.esig.dss.spi.validation.CommonCertificateVerifier;
import eu.europa.esig.dss.spi.x509.CommonTrustedCertificateSource;
import eu.europa.esig.dss.spi.x509.revocation.crl.ExternalResourcesCRLSource;
import eu.europa.esig.dss.spi.x509.revocation.ocsp.ExternalResourcesOCSPSource;
import eu.europa.esig.dss.token.DSSPrivateKeyEntry;
import eu.europa.esig.dss.token.Pkcs12SignatureToken;
import eu.europa.esig.dss.validation.SignedDocumentValidator;
import eu.europa.esig.dss.validation.reports.Reports;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * EU DSS as a judge of signed PDFs, and as somebody who signed before.
 *
 * <p>Reads one JSON request a line on standard input and answers each with one JSON line; see
 * {@link Request}. A request that fails is answered with {"error": TEXT}. Nothing is fetched when
 * judging: evidence is what the file has and what the request names.
 */
public final class Judge {

  /** One line of input. */
  static final class Request {
    String op; // judge or sign
    String file; // judge: the signed PDF
    String time; // judge: RFC 3339, when the validation takes place
    List<String> roots; // PEM files: the trust anchors
    List<String> crls, ocsps; // DER files: revocation data besides that in the PDF
    String in, out, key, level, tsa; // sign: PDFs, PEM with key and chain, B-B to B-LTA, URL
    int certify; // sign: DocMDP level, 0: approval signature
    boolean visible; // sign: with a text on the first page
  }

  private static final char[] PASSWORD = "judge".toCharArray();

  public static void main(String[] args) throws Exception {
    PrintStream out = System.out;
    System.setOut(System.err); // whatever a library prints is no answer
    BufferedReader in =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    Gson gson = new Gson();
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      Object answer;
      try {
        Request r = gson.fromJson(line, Request.class);
        answer = r.op.equals("sign") ? sign(r) : judge(r);
      } catch (Exception | LinkageError e) {
        StringWriter trace = new StringWriter();
        e.printStackTrace(new PrintWriter(trace));
        answer = Map.of("error", e.toString(), "trace", trace.toString());
      }
      out.write((gson.toJson(answer) + "\n").getBytes(StandardCharsets.UTF_8));
      out.flush();
    }
  }

  private static Map<String, Object> judge(Request r) throws Exception {
    SignedDocumentValidator validator =
        SignedDocumentValidator.fromDocument(new FileDocument(r.file));
    ((PDFDocumentValidator) validator).setPasswordProtection(new char[0]);
    validator.setCertificateVerifier(verifier(r));
    validator.setValidationTime(Date.from(Instant.parse(r.time)));
    try (InputStream policy = policy()) {
      return verdicts(validator.validateDocument(policy));
    }
  }

  /** Everything is local: no AIA, no CRL or OCSP but the given ones. */
  private static CommonCertificateVerifier verifier(Request r) throws Exception {
    CommonCertificateVerifier v = new CommonCertificateVerifier(true);
    CommonTrustedCertificateSource trusted = new CommonTrustedCertificateSource();
    for (String path : r.roots) {
      for (byte[] der : pem(path, "CERTIFICATE")) {
        trusted.addCertificate(DSSUtils.loadCertificate(der));
      }
    }
    v.setTrustedCertSources(trusted);
    v.setAIASource(null);
    if (r.crls != null && !r.crls.isEmpty()) {
      v.setCrlSource(
          new ExternalResourcesCRLSource(
              r.crls.stream().map(FileDocument::new).toArray(DSSDocument[]::new)));
    }
    if (r.ocsps != null && !r.ocsps.isEmpty()) {
      v.setOcspSource(
          new ExternalResourcesOCSPSource(
              r.ocsps.stream().map(FileDocument::new).toArray(DSSDocument[]::new)));
    }
    return v;
  }

  /**
   * DSS's own default policy, stricter: what changed after a signature must be allowed, where DSS
   * only warns. EdDSA counts as an algorithm; ETSI TS 119 312 does not list it yet.
   */
  private static InputStream policy() throws Exception {
    String xml;
    try (InputStream in = Judge.class.getResourceAsStream("/policy/constraint.xml")) {
      xml = new String(in.readAllBytes(), StandardCharsets.UTF_8);
    }
    for (String rule :
        List.of(
            "PdfAnnotationOverlap", "PdfVisualDifference", "DocMDP", "FieldMDP", "SigFieldLock",
            "UndefinedChanges", "ByteRangeCollision", "ByteRangeAllDocument")) {
      xml = xml.replaceAll("<" + rule + "\\s+Level=\"WARN\"", "<" + rule + " Level=\"FAIL\"");
    }
    xml = xml.replaceAll("<!--\\s*(<Algo( Size=\"24\")?>EdDSA</Algo>)\\s*.*?-->", "$1");
    return new java.io.ByteArrayInputStream(xml.getBytes(StandardCharsets.UTF_8));
  }

  private static Map<String, Object> verdicts(Reports reports) {
    SimpleReport simple = reports.getSimpleReport();
    DiagnosticData data = reports.getDiagnosticData();
    List<Map<String, Object>> all = new ArrayList<>();
    for (SignatureWrapper s : data.getSignatures()) {
      Map<String, Object> v = verdict(simple, s.getId(), s.getPDFRevision());
      v.put("kind", "signature");
      v.put("level", String.valueOf(simple.getSignatureFormat(s.getId())));
      v.put("stamps", s.getTimestampListByType(TimestampType.SIGNATURE_TIMESTAMP).size());
      v.put("intact", s.isSignatureIntact() && s.isSignatureValid());
      all.add(v);
    }
    for (TimestampWrapper t : data.getTimestampList()) {
      Map<String, Object> v = verdict(simple, t.getId(), t.getPDFRevision());
      boolean document = t.getType() == TimestampType.DOCUMENT_TIMESTAMP;
      v.put("kind", document ? "timestamp" : "signature timestamp");
      v.put("intact", t.isMessageImprintDataIntact() && t.isSignatureValid());
      all.add(v);
    }
    return Map.of("signatures", all);
  }

  private static Map<String, Object> verdict(
      SimpleReport simple, String id, PDFRevisionWrapper revision) {
    Map<String, Object> v = new LinkedHashMap<>();
    v.put("field", revision == null ? "" : revision.getFirstFieldName());
    v.put("status", String.valueOf(simple.getIndication(id)));
    v.put("reason", simple.getSubIndication(id) == null ? "" : simple.getSubIndication(id).name());
    v.put("errors", texts(simple.getAdESValidationErrors(id)));
    v.put("warnings", texts(simple.getAdESValidationWarnings(id)));
    v.put("changes", revision == null ? List.of() : changes(revision));
    return v;
  }

  private static List<String> texts(List<Message> messages) {
    return messages.stream().map(m -> m.getKey() + ": " + m.getValue()).toList();
  }

  /** What was changed after the revision that nothing allows. */
  private static List<String> changes(PDFRevisionWrapper r) {
    List<String> found = new ArrayList<>();
    for (XmlObjectModification m : r.getPdfUndefinedChanges()) {
      found.add(m.getAction() + " " + m.getValue());
    }
    for (XmlObjectModification m : r.getPdfAnnotationChanges()) {
      found.add("annotation " + m.getAction() + " " + m.getValue());
    }
    return found;
  }

  private static Map<String, Object> sign(Request r) throws Exception {
    PAdESSignatureParameters p = new PAdESSignatureParameters();
    p.setSignatureLevel(
        SignatureLevel.valueByName("PAdES-BASELINE-" + r.level.substring("B-".length())));
    if (r.certify > 0) {
      p.setPermission(CertificationPermission.fromCode(r.certify));
    }
    if (r.visible) {
      SignatureImageParameters image = new SignatureImageParameters();
      image.getFieldParameters().setOriginX(50);
      image.getFieldParameters().setOriginY(600);
      SignatureImageTextParameters text = new SignatureImageTextParameters();
      text.setText("Signed by somebody else");
      image.setTextParameters(text);
      p.setImageParameters(image);
    }
    try (Pkcs12SignatureToken token = token(r.key)) {
      DSSPrivateKeyEntry key = token.getKeys().get(0);
      p.setSigningCertificate(key.getCertificate());
      p.setCertificateChain(key.getCertificateChain());
      PAdESService service = new PAdESService(verifier(r));
      if (!r.level.equals("B-B")) {
        service.setTspSource(new OnlineTSPSource(r.tsa));
      }
      DSSDocument document = new InMemoryDocument(Files.readAllBytes(Path.of(r.in)));
      ToBeSigned toSign = service.getDataToSign(document, p);
      SignatureValue value = token.sign(toSign, p.getDigestAlgorithm(), key);
      service.signDocument(document, p, value).save(r.out);
    }
    return Map.of();
  }

  /** DSS reads keys from PKCS #12. */
  private static Pkcs12SignatureToken token(String path) throws Exception {
    List<Certificate> chain = new ArrayList<>();
    for (byte[] der : pem(path, "CERTIFICATE")) {
      CertificateToken c = DSSUtils.loadCertificate(der);
      chain.add(c.getCertificate());
    }
    String algorithm = chain.get(0).getPublicKey().getAlgorithm();
    PrivateKey key =
        KeyFactory.getInstance(algorithm)
            .generatePrivate(new PKCS8EncodedKeySpec(pem(path, "PRIVATE KEY").get(0)));
    KeyStore store = KeyStore.getInstance("PKCS12");
    store.load(null, null);
    store.setKeyEntry("key", key, PASSWORD, chain.toArray(new Certificate[0]));
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    store.store(bytes, PASSWORD);
    return new Pkcs12SignatureToken(
        bytes.toByteArray(), new KeyStore.PasswordProtection(PASSWORD));
  }

  private static List<byte[]> pem(String path, String kind) throws Exception {
    Matcher m =
        Pattern.compile("-----BEGIN " + kind + "-----([^-]+)-----END")
            .matcher(Files.readString(Path.of(path)));
    List<byte[]> found = new ArrayList<>();
    while (m.find()) {
      found.add(Base64.getMimeDecoder().decode(m.group(1)));
    }
    return found;
  }
}
