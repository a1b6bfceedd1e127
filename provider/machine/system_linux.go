package machine

// system is nil: Linux says it in files, within the limits of control groups.
var system func() (string, Memory)
