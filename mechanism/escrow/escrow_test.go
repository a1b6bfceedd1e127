package escrow

import (
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/moyai-network/moyai/mechanism/amount"
)

func coin(n uint64, denom string) Coin { return Coin{Denom: denom, Amount: amount.New(n)} }

func TestSplit(t *testing.T) {
	take := TakeParams{TakeBps: 200, BurnBps: 8000}
	tests := []struct {
		params                        TakeParams
		gross, provider, burned, pool uint64
	}{
		{take, 0, 0, 0, 0},
		{take, 49, 49, 0, 0},
		{take, 50, 49, 0, 1},
		{take, 500, 490, 8, 2},
		{take, 1_000_000, 980_000, 16_000, 4_000},
		{TakeParams{0, 10_000}, 500, 500, 0, 0},
		{TakeParams{10_000, 10_000}, 500, 0, 500, 0},
		{TakeParams{10_000, 0}, 500, 0, 0, 500},
	}
	for _, test := range tests {
		got, err := test.params.Split(amount.New(test.gross))
		want := Split{amount.New(test.provider), amount.New(test.burned), amount.New(test.pool)}
		if err != nil || got != want {
			t.Errorf("%+v of %d: %+v, %v, want %+v", test.params, test.gross, got, err, want)
		}
	}
	for _, bad := range []TakeParams{{10_001, 0}, {0, 10_001}} {
		if _, err := bad.Split(amount.New(1)); !errors.Is(err, ErrParams) {
			t.Errorf("%+v: %v, want %v", bad, err, ErrParams)
		}
	}
}

// FuzzSplit: the parts always add up, for any amount of 128 bits.
func FuzzSplit(f *testing.F) {
	f.Add("0", uint32(200), uint32(8000))
	f.Add("340282366920938463463374607431768211455", uint32(10_000), uint32(9_999))
	f.Fuzz(func(t *testing.T, gross string, take, burn uint32) {
		g, err := amount.Parse(gross)
		if err != nil {
			return
		}
		p := TakeParams{TakeBps: take % (bpsWhole + 1), BurnBps: burn % (bpsWhole + 1)}
		s, err := p.Split(g)
		if err != nil {
			t.Fatalf("%+v of %s: %v", p, g, err)
		}
		if err := Conserved(g, s.Provider, s.Burned, s.Pool); err != nil {
			t.Errorf("%+v of %s: %v", p, g, err)
		}
	})
}

func TestStream(t *testing.T) {
	price, err := amount.ParsePrice("0.02MOY/h")
	if err != nil {
		t.Fatal(err)
	}
	rate, err := price.Rate()
	if err != nil {
		t.Fatal(err)
	}
	hold, err := HoldFor(rate, 600_000)
	if err != nil || hold != amount.New(3334) {
		t.Fatalf("hold %s, %v", hold, err)
	}
	s := Stream{Rate: rate, StartMS: 1_000_000, CapMS: 600_000}
	for _, test := range []struct{ at, want uint64 }{
		{0, 0}, {1_000_000, 0}, {1_000_180, 1}, {1_000_179, 0}, {1_058_000, 322}, {1_600_000, 3333}, {9_999_999, 3333},
	} {
		if got, err := s.Accrued(test.at); err != nil || got != amount.New(test.want) {
			t.Errorf("at %d: %s, %v, want %d", test.at, got, err, test.want)
		}
	}
	if got := s.DryAt(); got != 1_600_000 {
		t.Errorf("dry at %d", got)
	}
	// What funds can feed is known at opening: at that time they still suffice,
	// a millisecond later they would not.
	funds := amount.New(1000)
	s = OpenStream(rate, 5, funds)
	if got, _ := rate.AccrueFloor(s.CapMS); got.Cmp(funds) > 0 {
		t.Errorf("%d ms cost %s of %s", s.CapMS, got, funds)
	}
	if got, _ := rate.AccrueFloor(s.CapMS + 1); got.Cmp(funds) <= 0 {
		t.Errorf("%d ms cost only %s of %s", s.CapMS+1, got, funds)
	}
	if got := OpenStream(amount.Rate{}, 5, funds).DryAt(); got != math.MaxUint64 {
		t.Errorf("a free stream dries at %d", got)
	}
}

func TestAccount(t *testing.T) {
	a, err := Account{Owner: "ann"}.Deposit(coin(10, "umoy"), coin(5, "ibc/1"), coin(1, "umoy"), coin(0, "zero"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Coin{coin(5, "ibc/1"), coin(11, "umoy")}
	if !reflect.DeepEqual(a.Balances, want) {
		t.Fatalf("%v, want %v", a.Balances, want)
	}
	b, hold, err := a.Lock("lease", "id", coin(4, "umoy"), coin(5, "ibc/1"), coin(2, "umoy"))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(b.Balances, []Coin{coin(5, "umoy")}) {
		t.Errorf("left %v", b.Balances)
	}
	if !reflect.DeepEqual(hold.Locked, []Coin{coin(5, "ibc/1"), coin(6, "umoy")}) || hold.Owner != "ann" || hold.SubjectID != "id" {
		t.Errorf("hold %+v", hold)
	}
	if !reflect.DeepEqual(a.Balances, want) {
		t.Errorf("locking changed the account it came from: %v", a.Balances)
	}
	if got := b.Balance("ibc/1"); !got.IsZero() {
		t.Errorf("balance %s", got)
	}

	refused := []struct {
		name string
		do   func() (Account, error)
		want error
	}{
		{"more than there is", func() (Account, error) { return b.Withdraw(coin(6, "umoy")) }, ErrInsufficient},
		{"another denomination", func() (Account, error) { return b.Withdraw(coin(1, "ibc/1")) }, ErrInsufficient},
		{"the second of two", func() (Account, error) { return b.Withdraw(coin(5, "umoy"), coin(1, "umoy")) }, ErrInsufficient},
		{"no denomination", func() (Account, error) { return b.Withdraw(coin(1, "")) }, ErrDenom},
		{"lock too much", func() (Account, error) { c, _, err := b.Lock("lease", "x", coin(6, "umoy")); return c, err }, ErrInsufficient},
		{"deposit no denomination", func() (Account, error) { return b.Deposit(coin(1, "")) }, ErrDenom},
	}
	for _, test := range refused {
		got, err := test.do()
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if !reflect.DeepEqual(got, b) {
			t.Errorf("%s: refused and changed to %+v", test.name, got)
		}
	}
}

func TestHoldSettle(t *testing.T) {
	hold := Hold{Locked: []Coin{coin(100, "a"), coin(20, "b")}}
	tests := []struct {
		name     string
		payments []Payment
		ok       bool
	}{
		{"exactly", []Payment{{ToProvider, coin(90, "a")}, {ToCloser, coin(20, "b")}, {ToBurn, coin(10, "a")}, {ToPool, coin(0, "a")}}, true},
		{"too little", []Payment{{ToProvider, coin(99, "a")}, {ToCloser, coin(20, "b")}}, false},
		{"too much", []Payment{{ToProvider, coin(101, "a")}, {ToCloser, coin(20, "b")}}, false},
		{"other denomination", []Payment{{ToProvider, coin(100, "a")}, {ToCloser, coin(20, "c")}}, false},
		{"nothing", nil, false},
	}
	for _, test := range tests {
		err := hold.Settle(test.payments...)
		if (err == nil) != test.ok || (err != nil && !errors.Is(err, ErrNotConserved)) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if err := (Hold{}).Settle(); err != nil {
		t.Errorf("nothing locked, nothing paid: %v", err)
	}
}

func TestConserved(t *testing.T) {
	if err := Conserved(amount.New(3), amount.New(1), amount.New(2)); err != nil {
		t.Error(err)
	}
	if err := Conserved(amount.New(4), amount.New(1), amount.New(2)); !errors.Is(err, ErrNotConserved) {
		t.Errorf("%v, want %v", err, ErrNotConserved)
	}
}
