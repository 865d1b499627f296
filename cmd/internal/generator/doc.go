// Package generator is systemd-import-generator: at boot it turns what the kernel
// command line (systemd.pull=) and the credential import.pull ask for into units
// that have importd download images.
//
// [Main] gathers what is asked for (source.go, cmdline.go), [parse] reads one
// expression (expression.go), and unit.go writes its unit.
package generator
