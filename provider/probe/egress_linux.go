package probe

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

const tunDevice = "/dev/net/tun"

// tryEgress makes the device through which a container that was sold a way to the
// internet speaks to a gateway, in a network namespace of its own. Without it
// containers have no way out at all.
func tryEgress(context.Context) Wall {
	return aside(func() Wall { return tryTUN(tunDevice) })
}

func tryTUN(path string) Wall {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return refused("make a network namespace", err)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
		return open("there is no "+path, "sudo modprobe tun")
	}
	if err != nil {
		return refused("open "+path, err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("moyai0")
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		return refused("make a TUN device", err)
	}
	return held("a TUN device in a network of its own")
}
