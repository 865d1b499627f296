package machineapi

// OpenMode says what a terminal in a machine is for.
type OpenMode string

// What a terminal can be for.
const (
	OpenLogin OpenMode = "login"
	OpenShell OpenMode = "shell"
)

// Session is a terminal to open in a machine. What is empty is left to machined:
// root, and the shell of the user.
type Session struct {
	Machine string
	Mode    OpenMode
	// The rest is for [OpenShell] only. Args begins with the name of the program.
	User string
	Path string
	Args []string
	Env  []string
}

// Files are what to copy between the host and a machine. An empty destination is
// the same path on the other side.
type Files struct {
	Machine             string
	Source, Destination string
	// Into is the direction: from the host.
	Into bool
	// Replace takes the place of files that are there already.
	Replace bool
}

// Bind is a path of the host to mount in a machine. An empty destination is the
// same path.
type Bind struct {
	Machine             string
	Source, Destination string
	ReadOnly            bool
	// Mkdir makes the mount point where there is none.
	Mkdir bool
}
