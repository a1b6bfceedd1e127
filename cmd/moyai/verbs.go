package main

import "github.com/spf13/cobra"

// addVerbs lists every verb with the group it is shown in.
func (a *app) addVerbs(add func(group string, cmds ...*cobra.Command)) {
	add("tenant", a.quoteCommand(), a.runCommand(), a.psCommand(), a.logsCommand(), a.attachCommand(), a.waitCommand(), a.stopCommand(),
		a.execCommand(), a.shellCommand(), a.cpCommand(), a.topCommand(), a.eventsCommand(), a.portForwardCommand(), a.sshCommand(),
		a.volumeCommand(), a.imageCommand(), a.leaseCommand(), a.accountCommand(), a.providersCommand())
	add("provider", a.provideCommand(), a.relayCommand())
	add("network", a.demoCommand(), a.devnetCommand(), a.chainCommand())
	add("other", a.keysCommand(), a.versionCommand(), a.completionCommand())
}
