// Package runner knows how a machine is started where no service manager does
// it: it turns an image into the command of the program that will run it.
//
// A runner starts nothing itself. Whoever starts the Command has to put it into
// a control group of its own, give it NOTIFY_SOCKET and standard streams, and
// end it by killing that control group.
package runner
