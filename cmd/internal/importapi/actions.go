package importapi

import "berth/cmd/internal/wire"

// Actions that polkit is asked about, as systemd's policy file names them.
const (
	actionImport = "org.freedesktop.import1.import"
	actionExport = "org.freedesktop.import1.export"
	actionPull   = "org.freedesktop.import1.pull"
	actionCancel = "org.freedesktop.import1.cancel"
)

// Authorizer decides whether a caller may do something; nil means yes.
type Authorizer = wire.Authorizer
