"""pyHanko as a judge of signed PDFs, and as somebody who signed before.

Reads one JSON request a line on standard input and answers each with one JSON line:

  {"op": "judge", "file": PATH, "roots": [PEM...], "time": RFC3339, "crls": [DER...],
   "ocsps": [DER...], "levels": {FIELD: "B-B|B-T|B-LT|B-LTA"}, "lenient": false}
      -> {"signatures": [{"field", "kind", "covers", "intact", "valid", "modification",
          "permitted", "status", "reason", "stamped", "proven"}]}
  {"op": "sign", "in": PATH, "out": PATH, "key": PEM, "field": NAME, "certify": 0-3,
   "lock": null or {"action": "All|Include|Exclude", "fields": []}, "level": "B-B|B-T|B-LTA",
   "tsa": URL, "roots": [PEM...], "crls": [DER...], "pss": false, "lenient": false}
      -> {}

lenient lets pyHanko read files that it rejects as such, hybrid ones for example.
A request that fails is answered with {"error": TEXT}. Nothing is fetched when judging:
evidence is what the file has and what the request names.
Validation follows ETSI EN 319 102-1 at the given time: clause 5.3 for a signature of
level B-B, 5.5 for B-T and B-LT, 5.6.3 for B-LTA. Every certificate but the root needs
revocation data.
"""

import asyncio
import dataclasses
import hashlib
import json
import logging
import sys
import traceback
from datetime import datetime

from asn1crypto import crl, keys, ocsp, pem, x509
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign import fields, signers, timestamps
from pyhanko.sign.diff_analysis import DEFAULT_DIFF_POLICY
from pyhanko.sign.validation import DocumentSecurityStore, errors
from pyhanko.sign.validation.ades import ades_basic_validation, ades_lta_validation, ades_with_time_validation
from pyhanko.sign.validation.generic_cms import validate_sig_integrity
from pyhanko.sign.validation.policy_decl import (
    CertificateFetchingRule,
    LocalKnowledge,
    PdfSignatureValidationSpec,
    RevinfoOnlineFetchingRule,
    RevocationInfoGatheringSpec,
    SignatureValidationSpec,
)
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.context import CertValidationPolicySpec
from pyhanko_certvalidator.ltv import ades_past, poe
from pyhanko_certvalidator.ltv.types import ValidationTimingInfo
from pyhanko_certvalidator.policy_decl import (
    CertRevTrustPolicy,
    RevocationCheckingPolicy,
    RevocationCheckingRule,
)
from pyhanko_certvalidator.registry import SimpleCertificateStore, SimpleTrustManager
from pyhanko_certvalidator.revinfo.archival import CRLContainer, OCSPContainer


def certificates(paths):
    found = []
    for path in paths:
        with open(path, "rb") as f:
            for kind, _, der in pem.unarmor(f.read(), multiple=True):
                if kind == "CERTIFICATE":
                    found.append(x509.Certificate.load(der))
    return found


def private_key(path):
    with open(path, "rb") as f:
        for kind, _, der in pem.unarmor(f.read(), multiple=True):
            if kind == "PRIVATE KEY":
                return keys.PrivateKeyInfo.load(der)
    raise ValueError(f"{path} has no private key")


def revocation_lists(paths):
    found = []
    for path in paths:
        with open(path, "rb") as f:
            found.append(crl.CertificateList.load(f.read()))
    return found


# Judging


class Clock(datetime):
    """The clock of pyHanko's proofs of existence and past validation.

    Both take the machine's time, whatever time they are asked to validate at, and would find
    a file of the future unproven, and evidence of the present younger than the question.
    """

    at = None  # the validation time; None: now

    @classmethod
    def now(cls, tz=None):
        return cls.at or datetime.now(tz)


ades_past.datetime = Clock
poe.datetime = Clock

_read_lock = fields.FieldMDPSpec.from_pdf_object.__func__


def read_lock(cls, *args):
    """Reads a lock; pyHanko (0.38) forgets to decrypt its names and then stumbles over them."""
    spec = _read_lock(cls, *args)
    if spec.fields is None:
        return spec
    return dataclasses.replace(spec, fields=[getattr(name, "decrypted", name) for name in spec.fields])


fields.FieldMDPSpec.from_pdf_object = classmethod(read_lock)


REVOCATION = RevocationCheckingPolicy(
    RevocationCheckingRule.CRL_OR_OCSP_REQUIRED, RevocationCheckingRule.CRL_OR_OCSP_REQUIRED
)


def specification(request, store):
    """What must hold, offline; store is the evidence in the file."""
    known_lists, known_responses, known_certificates = revocation_lists(request["crls"]), [], []
    for path in request["ocsps"]:
        with open(path, "rb") as f:
            known_responses += OCSPContainer.load_multi(ocsp.OCSPResponse.load(f.read()))
    if store:
        known_lists += [crl.CertificateList.load(c.get_object().data) for c in store.crls]
        for o in store.ocsps:
            known_responses += OCSPContainer.load_multi(ocsp.OCSPResponse.load(o.get_object().data))
        known_certificates = list(store.load_certs())
    return PdfSignatureValidationSpec(
        SignatureValidationSpec(
            cert_validation_policy=CertValidationPolicySpec(
                trust_manager=SimpleTrustManager.build(trust_roots=certificates(request["roots"])),
                revinfo_policy=CertRevTrustPolicy(REVOCATION),
            ),
            revinfo_gathering_policy=RevocationInfoGatheringSpec(
                online_fetching_rule=RevinfoOnlineFetchingRule.LOCAL_ONLY,
                certificate_fetching_rule=CertificateFetchingRule.NEVER_FETCH,
            ),
            local_knowledge=LocalKnowledge(
                known_crls=[CRLContainer(c) for c in known_lists],
                known_ocsps=known_responses,
                known_certs=known_certificates,
            ),
        ),
        diff_policy=DEFAULT_DIFF_POLICY,
    )


def cryptographically(sig):
    """Whether digest and signature value hold."""
    try:
        if sig.sig_object_type != "/DocTimeStamp":
            return validate_sig_integrity(sig.signer_info, sig.signer_cert, "data", sig.compute_digest())
        content = sig.signed_data["encap_content_info"]["content"]
        digest = hashlib.new(sig.md_algorithm, bytes(content)).digest()
        intact, valid = validate_sig_integrity(sig.signer_info, sig.signer_cert, "tst_info", digest)
        stamped = content.parsed["message_imprint"]["hashed_message"].native
        return intact and stamped == sig.compute_digest(), valid
    except errors.SignatureValidationError:
        return False, False


async def validate(sig, spec, at, level):
    """The process of ETSI EN 319 102-1 for the level, and its result."""
    timing = ValidationTimingInfo(validation_time=at, best_signature_time=at, point_in_time_validation=True)
    if level == "B-LTA":
        return await ades_lta_validation(sig, spec, timing_info=timing)
    process = ades_basic_validation if level == "B-B" else ades_with_time_validation
    return await process(
        sig.signed_data,
        spec.signature_validation_spec,
        timing_info=timing,
        raw_digest=sig.compute_digest(),
    )


def stamped(result):
    """Whether the signature timestamp, without which 5.5 fails, holds."""
    if hasattr(result, "signature_timestamp_status"):
        status = result.signature_timestamp_status
        return status is not None and status.ades_subindic.status.name == "PASSED"
    status = result.api_status and result.api_status.timestamp_validity
    return bool(status and status.intact and status.valid and status.trusted)


async def judge_one(sig, spec, at, levels):
    sig.compute_integrity_info(diff_policy=spec.diff_policy)
    info = sig.summarise_integrity_info()
    intact, valid = cryptographically(sig)
    difference = info["diff_result"]
    modification = getattr(difference, "modification_level", None)
    verdict = {
        "field": sig.field_name,
        "kind": "timestamp" if sig.sig_object_type == "/DocTimeStamp" else "signature",
        "covers": info["coverage"].name,
        "intact": intact,
        "valid": valid,
        "modification": modification.name if modification else f"SUSPICIOUS: {difference}",
        "permitted": info["docmdp_ok"] is True,
    }
    if verdict["kind"] == "timestamp":
        return verdict
    result = await validate(sig, spec, at, levels.get(sig.field_name, "B-T"))
    verdict["status"] = result.ades_subindic.status.name
    verdict["reason"] = f"{result.ades_subindic.standard_name} {result.failure_msg or ''}".strip()
    verdict["stamped"] = stamped(result)
    oldest = getattr(result, "oldest_evidence_record_timestamp", None)
    verdict["proven"] = oldest.isoformat() if oldest else ""
    return verdict


async def judge(request):
    at = datetime.fromisoformat(request["time"])
    with open(request["file"], "rb") as f:
        reader = PdfFileReader(f, strict=not request.get("lenient"))
        if reader.encrypted:
            reader.decrypt(b"")
        try:
            store = DocumentSecurityStore.read_dss(reader)
        except errors.NoDSSFoundError:
            store = None
        spec = specification(request, store)
        Clock.at = at
        try:
            found = [await judge_one(sig, spec, at, request["levels"]) for sig in reader.embedded_signatures]
        finally:
            Clock.at = None
        return {"signatures": found}


# Signing


def revocation_context(request):
    """A context that knows just the given revocation lists."""
    return ValidationContext(
        trust_roots=certificates(request["roots"]),
        crls=revocation_lists(request["crls"]),
        allow_fetching=False,
        revocation_mode="require",
    )


async def sign(request):
    chain = certificates([request["key"]])
    store = SimpleCertificateStore()
    store.register_multiple(chain)
    signer = signers.SimpleSigner(
        signing_cert=chain[0],
        signing_key=private_key(request["key"]),
        cert_registry=store,
        prefer_pss=request["pss"],
    )
    lock = request.get("lock")
    policy = lock and fields.FieldMDPSpec(fields.FieldMDPAction("/" + lock["action"]), lock.get("fields"))
    archive = request["level"] == "B-LTA"
    metadata = signers.PdfSignatureMetadata(
        field_name=request["field"],
        subfilter=fields.SigSeedSubFilter.PADES,
        certify=request["certify"] > 0,
        docmdp_permissions=fields.MDPPerm(request["certify"] or 2),
        embed_validation_info=archive,
        use_pades_lta=archive,
        validation_context=revocation_context(request) if archive else None,
    )
    stamper = timestamps.HTTPTimeStamper(request["tsa"]) if request["level"] != "B-B" else None
    with open(request["in"], "rb") as f, open(request["out"], "w+b") as out:
        writer = IncrementalPdfFileWriter(f, strict=not request.get("lenient"))
        if writer.prev.encrypted:
            writer.encrypt(b"")
        field = fields.SigFieldSpec(request["field"], field_mdp_spec=policy)
        exists = any(name == request["field"] for name, _, _ in fields.enumerate_sig_fields(writer.prev))
        pdf_signer = signers.PdfSigner(metadata, signer, timestamper=stamper, new_field_spec=None if exists else field)
        await pdf_signer.async_sign_pdf(writer, output=out)
    return {}


def main():
    logging.disable(logging.CRITICAL)  # the verdict says what matters
    run = {"judge": judge, "sign": sign}
    for line in sys.stdin:
        try:
            request = json.loads(line)
            answer = asyncio.run(run[request["op"]](request))
        except Exception as e:  # whatever it is, it is the answer
            answer = {"error": f"{type(e).__name__}: {e}", "trace": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
