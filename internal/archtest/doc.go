// Package archtest holds the architecture to its word: which package may
// import which, what the pure rules may not contain, how large a file may
// grow. Every rule carries its reason, and a violation prints it.
//
// It reads source text only (no type checking, no go command), so it takes
// well under a second and cannot be out of step with a build tag. It is not a
// linter: what go vet and golangci-lint can say is left to them.
package archtest
