package varlink

import "iter"

// ReplyEach answers a call with one reply per item, all but the last marked as
// continuing. If there is none the call ends with the error none. An error
// within the sequence ends it and the call.
//
// A client that did not ask for more gets a single item; if there are two, it
// gets ExpectedMore.
func ReplyEach[T any](call *Call, items iter.Seq2[T, error], none error) error {
	var held T
	have := false
	for item, err := range items {
		if err != nil {
			return err
		}
		if have {
			if err := call.Continue(held); err != nil {
				return err
			}
		}
		held, have = item, true
	}
	if !have {
		return none
	}
	return call.Reply(held)
}
