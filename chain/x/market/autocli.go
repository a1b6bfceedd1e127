package market

import autocliv1 "cosmossdk.io/api/cosmos/autocli/v1"

// AutoCLIOptions names the queries on the command line. The messages carry
// bytes that other programs sign: the client sends them.
func (Module) AutoCLIOptions() *autocliv1.ModuleOptions {
	return &autocliv1.ModuleOptions{
		Query: &autocliv1.ServiceCommandDescriptor{
			Service: "moyai.market.v1.Query",
			RpcCommandOptions: []*autocliv1.RpcCommandOptions{
				{RpcMethod: "Params", Use: "params", Short: "Limits of orders and bids, the window, bounties"},
				{RpcMethod: "Lease", Use: "lease [id]", Short: "One lease, by its id in hex", PositionalArgs: args("id")},
				{RpcMethod: "Leases", Use: "leases", Short: "Leases, of one party with --payer or --provider"},
				{RpcMethod: "Slot", Use: "slot [node] [slot]", Short: "A slot's last generation and the lease it serves", PositionalArgs: args("node", "slot")},
			},
		},
		Tx: &autocliv1.ServiceCommandDescriptor{
			Service: "moyai.market.v1.Msg",
			RpcCommandOptions: []*autocliv1.RpcCommandOptions{
				{RpcMethod: "OpenLeases", Skip: true},
				{RpcMethod: "CloseLeases", Skip: true},
				{RpcMethod: "UpdateParams", Skip: true}, // by governance only
			},
		},
	}
}

func args(fields ...string) []*autocliv1.PositionalArgDescriptor {
	list := make([]*autocliv1.PositionalArgDescriptor, len(fields))
	for i, f := range fields {
		list[i] = &autocliv1.PositionalArgDescriptor{ProtoField: f}
	}
	return list
}
