// Command torchverify checks signed heads and receipts under a C2SP tlog-policy with torchwood, which
// knows cosignatures of witnesses and ML-DSA-44. It shares nothing with the product.
//
//	torchverify POLICY_FILE checkpoint FILE             a head with its cosignatures
//	torchverify POLICY_FILE proof PROOF_FILE ENTRY_FILE one entry and its c2sp.org/tlog-proof@v1
package main

import (
	"errors"
	"fmt"
	"os"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	said, err := judge(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "WRONG:", err)
		os.Exit(1)
	}
	fmt.Println(said)
}

func judge(args []string) (string, error) {
	if len(args) < 3 {
		return "", errors.New("usage: torchverify POLICY_FILE checkpoint FILE | proof PROOF_FILE ENTRY_FILE")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return "", err
	}
	policy, err := torchwood.ParsePolicy(text)
	if err != nil {
		return "", err
	}
	raw, err := os.ReadFile(args[2])
	if err != nil {
		return "", err
	}
	switch {
	case args[1] == "checkpoint" && len(args) == 3:
		head, _, err := torchwood.VerifyCheckpoint(raw, policy)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d %x", head.N, head.Hash[:]), nil
	case args[1] == "proof" && len(args) == 4:
		entry, err := os.ReadFile(args[3])
		if err != nil {
			return "", err
		}
		return "in the log", torchwood.VerifyProof(policy, tlog.RecordHash(entry), raw)
	}
	return "", errors.New("neither checkpoint nor proof")
}
