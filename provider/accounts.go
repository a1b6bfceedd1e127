package provider

import (
	"fmt"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/wire"
)

// accounts are who is paid and who signs for it.
type accounts struct {
	address string // of the operator, bech32
	account []byte
	consent wire.Signer  // the operator's key; nil if it stays elsewhere
	acting  clientSender // changes the registry and closes one-sidedly
	closing clientSender // sends what anybody may send
}

func (p *Provider) unlock() (a accounts, err error) {
	if p.cfg.OperatorAddress != "" {
		a.address = p.cfg.OperatorAddress
		if a.account, err = chain.ParseAddress(a.address); err != nil {
			return a, fmt.Errorf("operator: %w", err)
		}
		s, err := p.cfg.Chain.Sender(p.cfg.Keys, p.cfg.Hot)
		if err != nil {
			return a, fmt.Errorf("hot account: %w", err)
		}
		a.acting, a.closing = clientSender{s}, clientSender{s}
		return a, nil
	}
	s, err := p.cfg.Chain.Sender(p.cfg.Keys, p.cfg.Operator)
	if err != nil {
		return a, fmt.Errorf("operator: %w", err)
	}
	a.address, a.account, a.consent = s.Address(), s.Account(), s.Signer()
	a.acting, a.closing = clientSender{s}, clientSender{s}
	if p.cfg.Hot != p.cfg.Operator {
		if s, err = p.cfg.Chain.Sender(p.cfg.Keys, p.cfg.Hot); err != nil {
			return a, fmt.Errorf("hot account: %w", err)
		}
		a.closing = clientSender{s}
	}
	return a, nil
}
