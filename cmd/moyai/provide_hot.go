package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/spf13/cobra"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/provider"
)

// hotView is how naming a hot account answers.
type hotView struct {
	Operator string `json:"operator"`
	Hot      string `json:"hot"`
	Tx       string `json:"tx"`
}

func (a *app) provideHotCommand() *cobra.Command {
	var moniker, contact, bond string
	cmd := &cobra.Command{
		Use:   "hot ADDRESS",
		Short: "let another account act for your machines, so that your key can stay cold",
		Long: `Name the account that acts for this operator's machines: it tells the chain where
they are, retires their keys and closes leases, also one-sidedly. It is paid
nothing and can move neither earnings nor bond; who steals it can register
machines that serve in your name. "none" takes it back.

Run it where the operator's key is. An account that is no provider yet becomes
one. Then, on the machine: moyai provide --operator YOURS --hot KEY …`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			hot := given[0]
			if hot == "none" {
				hot = ""
			} else if _, err := chain.ParseAddress(hot); err != nil {
				return &usageError{err}
			}
			coin, err := amount.ParseCoin(bond)
			if err != nil {
				return usagef("--bond: %w", err)
			}
			return a.nameHot(cmd.Context(), hot, func(operator string) (*registryv1.MsgRegisterProvider, error) {
				return provider.RegisterMsg(operator, moniker, contact, coin)
			})
		},
	}
	cmd.Flags().StringVar(&moniker, "moniker", "", "name shown to tenants, if the account becomes a provider now")
	cmd.Flags().StringVar(&contact, "contact", "", "how people reach you, likewise")
	cmd.Flags().StringVar(&bond, "bond", "0MOY", "stake put up, likewise")
	return cmd
}

func (a *app) nameHot(ctx context.Context, hot string, register func(operator string) (*registryv1.MsgRegisterProvider, error)) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := a.sender(c)
	if err != nil {
		return err
	}
	var msgs []sdk.Msg
	switch _, _, err := c.Provider(ctx, s.Address()); {
	case errors.Is(err, chain.ErrNotFound):
		msg, err := register(s.Address())
		if err != nil {
			return err
		}
		msgs = append(msgs, msg)
	case err != nil:
		return err
	}
	res, err := s.Send(ctx, append(msgs, &registryv1.MsgSetHot{Operator: s.Address(), Hot: hot})...)
	if err != nil {
		return err
	}
	v := hotView{Operator: s.Address(), Hot: hot, Tx: res.TxHash}
	return a.print(v, func(w io.Writer) error {
		if v.Hot == "" {
			_, err := fmt.Fprintf(w, "nobody acts for %s any more\n", v.Operator)
			return err
		}
		_, err := fmt.Fprintf(w, "%s acts for %s; on the machine: moyai provide --operator %s --hot KEY\n", v.Hot, v.Operator, v.Operator)
		return err
	})
}
