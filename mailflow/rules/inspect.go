package rules

import (
	"fmt"

	"countersign/signing/inventory"
)

// Inspect says, for each class of finding in a document, what becomes of it.
type Inspect struct {
	ReaderDisagreement inventory.Policy `yaml:"reader-disagreement" default:"refuse" doc:"Two independent readers see different catalogs, numbers of pages or form fields."`
	JavaScript         inventory.Policy `yaml:"javascript" default:"refuse" doc:"Scripts, but for those that format or compute a field."`
	Launch             inventory.Policy `yaml:"launch" default:"refuse" doc:"Actions that start a program or open a file."`
	SubmitForm         inventory.Policy `yaml:"submit-form" default:"refuse" doc:"Actions that send the values of the form somewhere."`
	ImportData         inventory.Policy `yaml:"import-data" default:"refuse" doc:"Actions that fill the form from a file."`
	ExternalStream     inventory.Policy `yaml:"external-stream" default:"refuse" doc:"Content that stands in another file, so that the signature does not cover it."`
	RichMedia          inventory.Policy `yaml:"rich-media" default:"refuse" doc:"Video, sound, 3D."`
	XFA                inventory.Policy `yaml:"xfa" default:"warn" doc:"A second form in XML, which some viewers show instead of the pages. (Those laid out when they are opened are refused in any case.)"`
	HiddenContent      inventory.Policy `yaml:"hidden-content" default:"warn" doc:"Layers, annotations and images that do not always show, or print otherwise than they show."`
	PreparedAppearance inventory.Policy `yaml:"prepared-appearance" default:"warn" doc:"Form fields that look otherwise than their value, and empty signature fields that show something."`
	NeedAppearances    inventory.Policy `yaml:"need-appearances" default:"warn" doc:"Form fields that the viewer draws anew, as it sees fit."`
	CalculatedField    inventory.Policy `yaml:"calculated-field" default:"warn" doc:"Form fields that scripts format or compute."`
	EmbeddedFile       inventory.Policy `yaml:"embedded-file" default:"warn" doc:"Attached files, as electronic invoices have."`
	RemoteGoto         inventory.Policy `yaml:"remote-goto" default:"warn" doc:"Links into other documents."`
	NotInspected       inventory.Policy `yaml:"not-inspected" default:"warn" doc:"Parts that are too large to be inspected, or cannot be read."`
	Rebuilt            inventory.Policy `yaml:"rebuilt" default:"warn" doc:"A document that came broken, without any signature, and was put in order. It is what people see; the original is kept."`
	SecondReaderFailed inventory.Policy `yaml:"second-reader-failed" default:"warn" doc:"The second reader cannot read the document."`
	FontNotEmbedded    inventory.Policy `yaml:"font-not-embedded" default:"warn" doc:"Fonts that are not in the document, so that it may look different elsewhere."`
	URI                inventory.Policy `yaml:"uri" default:"allow" doc:"Web links."`
	StandardFont       inventory.Policy `yaml:"standard-font" default:"allow" doc:"The 14 fonts that every viewer has, not embedded. PDF/A forbids that, too."`
	Unreferenced       inventory.Policy `yaml:"unreferenced-object" default:"allow" doc:"Objects in the file that nothing leads to."`
}

// fields gives the policy of each class.
func (i *Inspect) fields() map[inventory.Class]*inventory.Policy {
	return map[inventory.Class]*inventory.Policy{
		inventory.ReaderDisagreement: &i.ReaderDisagreement, inventory.JavaScript: &i.JavaScript, inventory.Launch: &i.Launch,
		inventory.SubmitForm: &i.SubmitForm, inventory.ImportData: &i.ImportData, inventory.ExternalStream: &i.ExternalStream,
		inventory.RichMedia: &i.RichMedia, inventory.XFA: &i.XFA, inventory.HiddenContent: &i.HiddenContent,
		inventory.PreparedAppearance: &i.PreparedAppearance, inventory.NeedAppearances: &i.NeedAppearances,
		inventory.CalculatedField: &i.CalculatedField, inventory.EmbeddedFile: &i.EmbeddedFile, inventory.RemoteGoto: &i.RemoteGoto,
		inventory.NotInspected: &i.NotInspected, inventory.Rebuilt: &i.Rebuilt, inventory.SecondReaderFailed: &i.SecondReaderFailed,
		inventory.FontNotEmbedded: &i.FontNotEmbedded, inventory.URI: &i.URI, inventory.StandardFont: &i.StandardFont,
		inventory.Unreferenced: &i.Unreferenced,
	}
}

// withDefaults fills in what the rule leaves out.
func (i Inspect) withDefaults() Inspect {
	for class, policy := range i.fields() {
		orDefault(policy, inventory.Defaults()[class])
	}
	return i
}

// terms returns the policies as plain data.
func (i Inspect) terms() map[string]string {
	out := map[string]string{}
	for class, policy := range i.fields() {
		out[string(class)] = string(*policy)
	}
	return out
}

func (c *checker) inspect() {
	policies := c.rule.Inspect.fields()
	for _, class := range inventory.Classes() {
		switch p := *policies[class]; p {
		case inventory.Refuse, inventory.Warn, inventory.Allow:
		default:
			c.bad(fmt.Sprintf("inspect.%s", class), "%q is not known; write refuse, warn or allow", p)
		}
	}
}
