package auction

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/moyai-network/moyai/mechanism/amount"
)

func bid(provider string, rate uint64, tie byte) Bid {
	return Bid{Provider: provider, Node: provider + "-node", Rate: amount.NewRate(rate), Tie: [32]byte{tie}}
}

func TestRank(t *testing.T) {
	bids := []Bid{bid("ann", 5, 1), bid("bob", 3, 9), bid("ann", 3, 2), bid("cy", 7, 0), bid("bob", 4, 0)}
	held := slices.Clone(bids)
	for i := range held {
		if held[i].Provider == "ann" {
			held[i].Held = 1
		}
	}
	near := []Bid{bid("far", 3, 1), bid("near", 3, 2), bid("dear", 4, 0)}
	near[0].LoadMS, near[1].LoadMS = 5000, 10
	tests := []struct {
		name   string
		policy Policy
		bids   []Bid
		want   []int
	}{
		{"none", Cheapest, nil, []int{}},
		{"cheapest", Cheapest, bids, []int{2, 1, 4, 0, 3}},
		{"spread", Spread, bids, []int{2, 1, 3, 4, 0}},
		{"spread, ann has a lease", Spread, held, []int{1, 3, 2, 4, 0}},
		{"equal rates: what loads sooner", Cheapest, near, []int{1, 0, 2}},
		{"cheapest does not count leases", Cheapest, held, []int{2, 1, 4, 0, 3}},
	}
	for _, test := range tests {
		if got := Rank(test.policy, test.bids); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// TestRankIsTotal: the order in which bids arrive does not change their rank,
// and Spread never takes a provider twice before each was used once.
func TestRankIsTotal(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	for range 500 {
		bids := make([]Bid, r.IntN(20))
		for i := range bids {
			bids[i] = bid(string(rune('a'+r.IntN(5))), r.Uint64N(4), byte(i))
			bids[i].Tie[1] = byte(r.Uint32())
		}
		shuffled := slices.Clone(bids)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		for _, policy := range []Policy{Cheapest, Spread} {
			a, b := pick(bids, Rank(policy, bids)), pick(shuffled, Rank(policy, shuffled))
			if !slices.Equal(a, b) {
				t.Fatalf("seed %d, %s: arrival changes the rank\n%v\n%v", seed, policy, a, b)
			}
			if policy == Spread {
				checkSpread(t, a)
			}
		}
	}
}

func pick(bids []Bid, order []int) []Bid {
	out := make([]Bid, len(order))
	for i, at := range order {
		out[i] = bids[at]
	}
	return out
}

// checkSpread: no provider is used an n+1st time while another one has a bid
// left and fewer than n uses.
func checkSpread(t *testing.T, ranked []Bid) {
	t.Helper()
	used := map[string]int{}
	for i, b := range ranked {
		for _, later := range ranked[i+1:] {
			if used[later.Provider] < used[b.Provider] {
				t.Fatalf("%s again before %s: %v", b.Provider, later.Provider, ranked)
			}
		}
		used[b.Provider]++
	}
}
