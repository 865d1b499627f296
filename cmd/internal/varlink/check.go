package varlink

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// errMismatch (wrapped) says that a value does not have the type that is described.
var errMismatch = errors.New("value does not fit its type")

// checker walks a JSON text along a type, one token at a time, so that a large
// message never becomes a larger tree.
type checker struct {
	in    *Interface
	dec   *json.Decoder
	loose map[string]bool // named types whose values their handlers judge
	// lax lets the outermost struct have fields that are not described.
	lax bool
}

// check compares parameters with the struct that describes them. The error
// is an InvalidParameter that names the outermost field which does not fit.
func (in *Interface) check(t *idlType, raw json.RawMessage, loose map[string]bool, lax bool) error {
	c := &checker{in: in, dec: json.NewDecoder(bytes.NewReader(raw)), loose: loose, lax: lax}
	c.dec.UseNumber()
	if tok, err := c.dec.Token(); err != nil || tok != json.Delim('{') {
		return fmt.Errorf("%w: parameters are no object", ErrProtocol)
	}
	bad, err := c.fields(t, c.lax)
	if err != nil {
		return InvalidParameter(bad)
	}
	return nil
}

// fields reads the rest of an object whose "{" was read already. With an error
// it returns the field that is at fault.
func (c *checker) fields(t *idlType, lax bool) (string, error) {
	seen := make([]bool, len(t.fields))
	for c.dec.More() {
		tok, err := c.dec.Token()
		if err != nil {
			return "", err
		}
		key, _ := tok.(string)
		i := t.field(key)
		switch {
		case i < 0 && !lax:
			return key, fmt.Errorf("%w: unknown field %s", errMismatch, key)
		case i < 0:
			err = c.skip()
		case seen[i]:
			return key, fmt.Errorf("%w: field %s comes twice", errMismatch, key)
		default:
			seen[i], err = c.optional(t.fields[i].typ)
		}
		if err != nil {
			return key, err
		}
	}
	if _, err := c.dec.Token(); err != nil {
		return "", err
	}
	for i, f := range t.fields {
		if !seen[i] && !f.typ.nullable {
			return f.name, fmt.Errorf("%w: field %s is missing", errMismatch, f.name)
		}
	}
	return "", nil
}

// optional reads one value and reports whether it is there: null is not.
func (c *checker) optional(t *idlType) (bool, error) {
	tok, err := c.dec.Token()
	if err != nil || tok == nil {
		return false, err
	}
	return true, c.value(t, tok)
}

// value checks the value that begins with tok.
func (c *checker) value(t *idlType, tok json.Token) error {
	if tok == nil {
		if t.nullable || t.kind == kindAny {
			return nil
		}
		return fmt.Errorf("%w: null", errMismatch)
	}
	if t.kind == kindNamed && c.loose[t.name] {
		return c.rest(tok)
	}
	t = c.in.resolve(t)
	switch t.kind {
	case kindAny:
		return c.rest(tok)
	case kindObject, kindStruct, kindMap:
		if tok != json.Delim('{') {
			return fmt.Errorf("%w: %v is no object", errMismatch, tok)
		}
		return c.object(t)
	case kindArray:
		if tok != json.Delim('[') {
			return fmt.Errorf("%w: %v is no array", errMismatch, tok)
		}
		return c.array(t)
	}
	return scalar(t, tok)
}

func (c *checker) object(t *idlType) error {
	switch t.kind {
	case kindStruct:
		_, err := c.fields(t, false)
		return err
	case kindObject:
		return c.rest(json.Delim('{'))
	}
	for c.dec.More() {
		if _, err := c.dec.Token(); err != nil {
			return err
		}
		tok, err := c.dec.Token()
		if err != nil {
			return err
		}
		if err := c.value(t.elem, tok); err != nil {
			return err
		}
	}
	_, err := c.dec.Token()
	return err
}

func (c *checker) array(t *idlType) error {
	for c.dec.More() {
		tok, err := c.dec.Token()
		if err != nil {
			return err
		}
		if err := c.value(t.elem, tok); err != nil {
			return err
		}
	}
	_, err := c.dec.Token()
	return err
}

func scalar(t *idlType, tok json.Token) error {
	ok := false
	switch v := tok.(type) {
	case bool:
		ok = t.kind == kindBool
	case string:
		ok = t.kind == kindString || t.kind == kindEnum && slices.Contains(t.values, v)
	case json.Number:
		ok = t.kind == kindFloat || t.kind == kindInt && isInteger(string(v))
	}
	if !ok {
		return fmt.Errorf("%w: %v", errMismatch, tok)
	}
	return nil
}

// isInteger accepts what fits into 64 bits, with or without a sign: sizes that
// are not known go over the wire as the largest unsigned number.
func isInteger(s string) bool {
	if strings.HasPrefix(s, "-") {
		_, err := strconv.ParseInt(s, 10, 64)
		return err == nil
	}
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}

func (c *checker) skip() error {
	tok, err := c.dec.Token()
	if err != nil {
		return err
	}
	return c.rest(tok)
}

// rest reads to the end of the value that begins with tok.
func (c *checker) rest(tok json.Token) error {
	depth := 0
	for {
		switch tok {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
		var err error
		if tok, err = c.dec.Token(); err != nil {
			return err
		}
	}
}
