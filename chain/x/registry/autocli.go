package registry

import autocliv1 "cosmossdk.io/api/cosmos/autocli/v1"

// AutoCLIOptions names queries and messages on the command line.
func (Module) AutoCLIOptions() *autocliv1.ModuleOptions {
	return &autocliv1.ModuleOptions{
		Query: &autocliv1.ServiceCommandDescriptor{
			Service: "moyai.registry.v1.Query",
			RpcCommandOptions: []*autocliv1.RpcCommandOptions{
				{RpcMethod: "Params", Use: "params", Short: "Unbonding time, bounds and the fee floor"},
				{RpcMethod: "Provider", Use: "provider [operator]", Short: "One provider, its bond and what is unbonding", PositionalArgs: args("operator")},
				{RpcMethod: "Providers", Use: "providers", Short: "All providers"},
				{RpcMethod: "Node", Use: "node [key]", Short: "One machine, by its public key in hex", PositionalArgs: args("node")},
				{RpcMethod: "Nodes", Use: "nodes", Short: "Machines, of one provider with --operator"},
				{RpcMethod: "ServiceKinds", Use: "service-kinds", Short: "What can be leased"},
				{RpcMethod: "Dimensions", Use: "dimensions", Short: "What orders ask quantities of"},
			},
		},
		Tx: &autocliv1.ServiceCommandDescriptor{
			Service: "moyai.registry.v1.Msg",
			RpcCommandOptions: []*autocliv1.RpcCommandOptions{
				{RpcMethod: "RegisterProvider", Use: "register [bond]", Short: "Become a provider, bonding a sum", PositionalArgs: args("bond")},
				{RpcMethod: "SetHot", Use: "set-hot [account]", Short: "Name the account that acts for the machines", PositionalArgs: args("hot")},
				{RpcMethod: "SetNode", Skip: true}, // carries a record that only the node can sign
				{RpcMethod: "RevokeNode", Use: "revoke-node [key]", Short: "Retire a node key for good", PositionalArgs: args("node")},
				{RpcMethod: "Bond", Use: "bond [amount]", Short: "Add to the bond", PositionalArgs: args("amount")},
				{RpcMethod: "Unbond", Use: "unbond [amount]", Short: "Start the return of unlocked bond", PositionalArgs: args("amount")},
				{RpcMethod: "Leave", Use: "leave", Short: "Revoke every node and unbond what no lease locks"},
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
