package escrow

import autocliv1 "cosmossdk.io/api/cosmos/autocli/v1"

// AutoCLIOptions names the queries on the command line.
func (Module) AutoCLIOptions() *autocliv1.ModuleOptions {
	return &autocliv1.ModuleOptions{
		Query: &autocliv1.ServiceCommandDescriptor{
			Service: "moyai.escrow.v1.Query",
			RpcCommandOptions: []*autocliv1.RpcCommandOptions{
				{RpcMethod: "Params", Use: "params", Short: "Take, burn share and the meter's longest step"},
				{RpcMethod: "MeterClock", Use: "meter-clock", Short: "The chain's money clock"},
				{RpcMethod: "Holds", Use: "holds", Short: "Locked money, of one owner with --owner"},
				{RpcMethod: "Totals", Use: "totals", Short: "What settlement has burned, pooled and paid since genesis"},
			},
		},
		Tx: &autocliv1.ServiceCommandDescriptor{
			Service: "moyai.escrow.v1.Msg",
			RpcCommandOptions: []*autocliv1.RpcCommandOptions{
				{RpcMethod: "UpdateParams", Skip: true}, // by governance only
			},
		},
	}
}
