package varlink

import (
	"fmt"
	"slices"
	"strings"
)

const (
	maxDescription = 1 << 20
	maxTypeDepth   = 32
)

// ParseInterface reads one interface description as defined at
// https://varlink.org/Interface-Definition, with the type "any" besides.
func ParseInterface(text string) (*Interface, error) {
	if len(text) > maxDescription {
		return nil, fmt.Errorf("interface description of %d bytes is over the limit of %d", len(text), maxDescription)
	}
	p := &parser{lexer: lexer{text: text}}
	in, err := p.description()
	if err != nil {
		return nil, err
	}
	if err := in.checkNames(); err != nil {
		return nil, fmt.Errorf("interface %s: %w", in.Name, err)
	}
	return in, nil
}

type parser struct {
	lexer
	token string
}

func (p *parser) advance() (err error) {
	p.token, err = p.next(false)
	return err
}

func (p *parser) expect(sign string) error {
	if p.token != sign {
		return p.errorf("%q where %q is expected", p.token, sign)
	}
	return p.advance()
}

// name takes one word.
func (p *parser) name() (string, error) {
	word := p.token
	if word == "" || !isNameByte(word[0]) || word[0] >= '0' && word[0] <= '9' {
		return "", p.errorf("%q where a name is expected", word)
	}
	return word, p.advance()
}

func (p *parser) description() (*Interface, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.token != "interface" {
		return nil, p.errorf("%q where %q is expected", p.token, "interface")
	}
	name, err := p.next(true)
	if err != nil {
		return nil, err
	}
	if !validInterfaceName(name) {
		return nil, p.errorf("%q is no name of an interface", name)
	}
	in := &Interface{
		Name: name, Text: p.text,
		methods: map[string]method{}, types: map[string]*idlType{}, errors: map[string]*idlType{},
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	for p.token != "" {
		if err := p.member(in); err != nil {
			return nil, err
		}
	}
	return in, nil
}

func validInterfaceName(name string) bool {
	parts := strings.Split(name, ".")
	return len(parts) >= 2 && !slices.ContainsFunc(parts, func(part string) bool {
		return part == "" || strings.HasPrefix(part, "-") || strings.HasSuffix(part, "-")
	})
}

func (p *parser) member(in *Interface) error {
	keyword := p.token
	if err := p.advance(); err != nil {
		return err
	}
	name, err := p.name()
	if err != nil {
		return err
	}
	if in.types[name] != nil || in.errors[name] != nil || in.methods[name].in != nil {
		return p.errorf("%s is defined twice", name)
	}
	switch keyword {
	case "type":
		in.types[name], err = p.structOrEnum(1)
	case "error":
		in.Errors = append(in.Errors, name)
		in.errors[name], err = p.structure()
	case "method":
		in.Methods = append(in.Methods, name)
		in.methods[name], err = p.signature()
	default:
		return p.errorf("%q where type, method or error is expected", keyword)
	}
	return err
}

func (p *parser) signature() (m method, err error) {
	if m.in, err = p.structure(); err != nil {
		return m, err
	}
	if err := p.expect("->"); err != nil {
		return m, err
	}
	m.out, err = p.structure()
	return m, err
}

func (p *parser) structure() (*idlType, error) {
	t, err := p.structOrEnum(1)
	if err == nil && t.kind == kindEnum {
		err = p.errorf("an enumeration where named fields are expected")
	}
	return t, err
}

// structOrEnum parses "(a: T, b: T)" or "(a, b)"; "()" is a struct.
func (p *parser) structOrEnum(depth int) (*idlType, error) {
	t := &idlType{kind: kindStruct}
	if err := p.expect("("); err != nil {
		return nil, err
	}
	for seen := map[string]bool{}; p.token != ")"; {
		if len(seen) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		name, err := p.name()
		if err != nil {
			return nil, err
		}
		if seen[name] {
			return nil, p.errorf("%s is listed twice", name)
		}
		isEnum := p.token != ":"
		if len(seen) > 0 && isEnum != (t.kind == kindEnum) {
			return nil, p.errorf("fields mixed with values of an enumeration")
		}
		seen[name] = true
		if isEnum {
			t.kind, t.values = kindEnum, append(t.values, name)
			continue
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		typ, err := p.typeExpr(depth + 1)
		if err != nil {
			return nil, err
		}
		t.fields = append(t.fields, field{name, typ})
	}
	return t, p.advance()
}

func (p *parser) typeExpr(depth int) (*idlType, error) {
	if depth > maxTypeDepth {
		return nil, p.errorf("types nested deeper than %d", maxTypeDepth)
	}
	switch p.token {
	case "?":
		if err := p.advance(); err != nil {
			return nil, err
		}
		t, err := p.typeExpr(depth + 1)
		if err != nil {
			return nil, err
		}
		if t.nullable {
			return nil, p.errorf("a type marked as nullable twice")
		}
		t.nullable = true
		return t, nil
	case "[":
		return p.collection(depth)
	case "(":
		return p.structOrEnum(depth)
	}
	name, err := p.name()
	if err != nil {
		return nil, err
	}
	if k, ok := basicKinds[name]; ok {
		return &idlType{kind: k}, nil
	}
	return &idlType{kind: kindNamed, name: name}, nil
}

var basicKinds = map[string]kind{
	"bool": kindBool, "int": kindInt, "float": kindFloat, "string": kindString,
	"object": kindObject, "any": kindAny,
}

// collection parses "[]T" and "[string]T".
func (p *parser) collection(depth int) (*idlType, error) {
	t := &idlType{kind: kindArray}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.token == "string" {
		t.kind = kindMap
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
	if err := p.expect("]"); err != nil {
		return nil, err
	}
	var err error
	t.elem, err = p.typeExpr(depth + 1)
	return t, err
}

// checkNames makes sure that every named type exists.
func (in *Interface) checkNames() error {
	for _, t := range in.types {
		if err := in.checkType(t); err != nil {
			return err
		}
	}
	for _, t := range in.errors {
		if err := in.checkType(t); err != nil {
			return err
		}
	}
	for _, m := range in.methods {
		if err := in.checkType(m.in); err != nil {
			return err
		}
		if err := in.checkType(m.out); err != nil {
			return err
		}
	}
	return nil
}

func (in *Interface) checkType(t *idlType) error {
	switch t.kind {
	case kindNamed:
		if in.types[t.name] == nil {
			return fmt.Errorf("no type %s", t.name)
		}
	case kindArray, kindMap:
		return in.checkType(t.elem)
	case kindStruct:
		for _, f := range t.fields {
			if err := in.checkType(f.typ); err != nil {
				return fmt.Errorf("field %s: %w", f.name, err)
			}
		}
	}
	return nil
}
