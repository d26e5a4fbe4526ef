package soap

import (
	_ "embed"
	"fmt"
	"reflect"
	"strings"
)

// A Service is what a WSDL describes.
type Service struct {
	Name  string // "NGNPro"
	Types string // namespace of the types, and of the definitions
	Ports []Port
	Auth  reflect.Type // of the header block AuthHeader that every operation takes; nil: none
}

// A Port is a group of operations with a namespace and an address of its own.
type Port struct {
	Name       string // "Sip"
	Namespace  string
	Operations []Operation
}

// An Operation is a call and its answer.
type Operation struct {
	Name   string
	Params []Param
	Result reflect.Type // nil: none
}

// A Param is a parameter of an operation.
type Param struct {
	Name string
	Type reflect.Type
}

// EncodingSchema is a schema of the SOAP encoding's namespace that holds what a
// WSDL here refers to. Clients load it beside the WSDL; the one at the address
// that the namespace seems to be is out of reach for most of them.
//
//go:embed soap-enc.xsd
var EncodingSchema []byte

// WSDL describes the service, or with only set that one port of it. url is where
// clients find the service, without a slash at its end: ports are at url/Name,
// EncodingSchema at url/soap-enc.xsd.
func (s *Service) WSDL(url, only string) []byte {
	w := &wsdlWriter{service: s, types: make(map[*schema]bool)}
	for _, p := range s.Ports {
		if only == "" || only == p.Name {
			w.ports = append(w.ports, p)
		}
	}
	return w.write(url)
}

type wsdlWriter struct {
	service *Service
	ports   []Port
	b       strings.Builder
	types   map[*schema]bool
	order   []*schema
}

func (w *wsdlWriter) f(format string, args ...any) { fmt.Fprintf(&w.b, format, args...) }

// text escapes a value for use between quotes.
func text(s string) string { return string(appendText(nil, s)) }

func (w *wsdlWriter) write(url string) []byte {
	s := w.service
	w.f(`<?xml version="1.0" encoding="UTF-8"?>`+"\n"+
		`<definitions name="%[1]s" targetNamespace="%[2]s" xmlns="%[3]s" xmlns:tns="%[2]s" xmlns:soap="%[4]s" xmlns:xsd="%[5]s" xmlns:SOAP-ENC="%[6]s" xmlns:wsdl="%[3]s">`+"\n",
		text(s.Name), text(s.Types), nsWSDL, nsWSDLSOAP, nsSchema, nsEncoding)
	for _, p := range w.ports {
		for _, o := range p.Operations {
			for _, p := range o.Params {
				w.collect(schemaOf(p.Type, ""))
			}
			if o.Result != nil {
				w.collect(schemaOf(o.Result, ""))
			}
		}
	}
	if s.Auth != nil {
		w.collect(schemaOf(s.Auth, ""))
	}
	w.schema(url)
	w.messages()
	w.portTypes()
	w.bindings()
	w.f(`<service name="%s">`+"\n", text(s.Name))
	for _, p := range w.ports {
		w.f(`<port name="%[1]sPort" binding="tns:%[1]sBinding"><soap:address location="%[2]s/%[1]s"/></port>`+"\n", p.Name, text(url))
	}
	w.f("</service>\n</definitions>\n")
	return []byte(w.b.String())
}

// collect lists the complex types that s needs, each once, after those it is made
// of.
func (w *wsdlWriter) collect(s *schema) {
	if s.scalar() || w.types[s] {
		return
	}
	for _, f := range s.fields {
		w.collect(f.schema)
	}
	if s.item != nil {
		w.collect(s.item)
	}
	w.types[s] = true
	w.order = append(w.order, s)
}

func (w *wsdlWriter) schema(url string) {
	w.f("<types>\n"+`<xsd:schema targetNamespace="%s">`+"\n"+`<xsd:import namespace="%s" schemaLocation="%s/soap-enc.xsd"/>`+"\n",
		text(w.service.Types), nsEncoding, text(url))
	if s := w.service.Auth; s != nil {
		w.f(`<xsd:element name="%s" type="%s"/>`+"\n", AuthHeader, schemaOf(s, "").qualified())
	}
	for _, s := range w.order {
		w.f(`<xsd:complexType name="%s">`, s.name)
		if s.kind == kindArray {
			w.f(`<xsd:complexContent><xsd:restriction base="SOAP-ENC:Array"><xsd:sequence>`+
				`<xsd:element name="item" type="%s" minOccurs="0" maxOccurs="unbounded" nillable="true"/>`+
				`<xsd:any namespace="##other" minOccurs="0" maxOccurs="unbounded" processContents="lax"/></xsd:sequence>`+
				`<xsd:attribute ref="SOAP-ENC:arrayType" wsdl:arrayType="%s[]"/>`+
				`</xsd:restriction></xsd:complexContent></xsd:complexType>`+"\n", w.itemType(s.item), s.item.qualified())
			continue
		}
		w.f("<xsd:sequence>\n")
		for _, f := range s.fields {
			w.f(`<xsd:element name="%s" type="%s" minOccurs="0" nillable="true"/>`+"\n", f.name, f.schema.qualified())
		}
		w.f("</xsd:sequence></xsd:complexType>\n")
	}
	w.f("</xsd:schema>\n</types>\n")
}

// itemType is the type of an array's members in the schema.
func (w *wsdlWriter) itemType(item *schema) string {
	if item.scalar() {
		return "xsd:anyType"
	}
	return item.qualified()
}

func (w *wsdlWriter) messages() {
	if w.service.Auth != nil {
		w.f(`<message name="%[1]s"><part name="%[1]s" element="tns:%[1]s"/></message>`+"\n", AuthHeader)
	}
	for _, p := range w.ports {
		for _, o := range p.Operations {
			w.f(`<message name="%s%sRequest">`, p.Name, upper(o.Name))
			for _, p := range o.Params {
				w.f(`<part name="%s" type="%s"/>`, p.Name, schemaOf(p.Type, "").qualified())
			}
			w.f("</message>\n"+`<message name="%s%sResponse">`, p.Name, upper(o.Name))
			if o.Result != nil {
				w.f(`<part name="%s" type="%s"/>`, resultName, schemaOf(o.Result, "").qualified())
			}
			w.f("</message>\n")
		}
	}
}

func (w *wsdlWriter) portTypes() {
	for _, p := range w.ports {
		w.f(`<portType name="%sPortType">`+"\n", p.Name)
		for _, o := range p.Operations {
			w.f(`<operation name="%[1]s"><input message="tns:%[2]s%[3]sRequest"/><output message="tns:%[2]s%[3]sResponse"/></operation>`+"\n",
				o.Name, p.Name, upper(o.Name))
		}
		w.f("</portType>\n")
	}
}

func (w *wsdlWriter) bindings() {
	for _, p := range w.ports {
		body := fmt.Sprintf(`<soap:body use="encoded" namespace="%s" encodingStyle="%s"/>`, text(p.Namespace), nsEncoding)
		header := ""
		if w.service.Auth != nil {
			header = fmt.Sprintf(`<soap:header message="tns:%[1]s" part="%[1]s" use="encoded" namespace="%[2]s" encodingStyle="%[3]s"/>`,
				AuthHeader, text(w.service.Types), nsEncoding)
		}
		w.f(`<binding name="%[1]sBinding" type="tns:%[1]sPortType"><soap:binding style="rpc" transport="http://schemas.xmlsoap.org/soap/http"/>`+"\n", p.Name)
		for _, o := range p.Operations {
			w.f(`<operation name="%[1]s"><soap:operation soapAction=""/><input>%[2]s%[3]s</input><output>%[2]s</output></operation>`+"\n", o.Name, body, header)
		}
		w.f("</binding>\n")
	}
}
