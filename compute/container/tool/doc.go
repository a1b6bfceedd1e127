// Package tool is what a runtime brings along for images that have nothing of
// their own: an SFTP server, and tar in both directions; and, for sandboxes whose network
// is not the host's to enter, what connects to their ports. It is a mode of moyai-worker, which every container has, read-only, at supervise.ToolPath.
//
// It runs inside, as the tenant's user and behind the tenant's walls, so that no
// file system that a tenant made is ever walked by a process of the host. It is
// therefore trusted with nothing: what it says is the tenant's word. Standard
// input and output carry the data, standard error words for a person.
package tool
