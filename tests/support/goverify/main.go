// Command goverify checks a log with Go's own implementation of signed notes and tile trees. It
// shares nothing with the product.
//
//	goverify DIRECTORY VKEY_FILE                  a whole exported log
//	goverify proof PROOF_FILE ENTRY_FILE VKEY_FILE  one entry and its c2sp.org/tlog-proof@v1
//	goverify grows OLD_CHECKPOINT DIRECTORY VKEY_FILE  that an export continues an older head
package main

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	var size int64
	var root tlog.Hash
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 2:
		size, root, err = verify(args[0], args[1])
	case len(args) == 4 && args[0] == "proof":
		size, root, err = proof(args[1], args[2], args[3])
	case len(args) == 4 && args[0] == "grows":
		size, root, err = grows(args[1], args[2], args[3])
	default:
		fmt.Fprintln(os.Stderr, "usage: goverify DIRECTORY VKEY_FILE | proof … | grows …")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "WRONG:", err)
		os.Exit(1)
	}
	fmt.Printf("%d %x\n", size, root[:])
}

// checkpoint gives the size and root that the key in vkeyFile (its first Ed25519 line) has signed.
func checkpoint(raw []byte, vkeyFile string) (int64, tlog.Hash, error) {
	var none tlog.Hash
	vkeys, err := os.ReadFile(vkeyFile)
	if err != nil {
		return 0, none, err
	}
	// Go's package knows Ed25519 only; the other signatures of the head are unknown to it.
	vkey, _, _ := strings.Cut(strings.TrimSpace(string(vkeys)), "\n")
	verifier, err := note.NewVerifier(strings.TrimSpace(vkey))
	if err != nil {
		return 0, none, err
	}
	signed, err := note.Open(raw, note.VerifierList(verifier))
	if err != nil {
		return 0, none, err
	}
	lines := strings.Split(signed.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return 0, none, errors.New("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return 0, none, err
	}
	decoded, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(decoded) != tlog.HashSize {
		return 0, none, errors.New("the root is no hash")
	}
	var root tlog.Hash
	copy(root[:], decoded)
	return size, root, nil
}

// proof checks a receipt; it gives the entry's index and the signed root.
func proof(proofFile, entryFile, vkeyFile string) (int64, tlog.Hash, error) {
	var none tlog.Hash
	raw, err := os.ReadFile(proofFile)
	if err != nil {
		return 0, none, err
	}
	entry, err := os.ReadFile(entryFile)
	if err != nil {
		return 0, none, err
	}
	head, signed, found := strings.Cut(string(raw), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return 0, none, errors.New("not a proof")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil {
		return 0, none, err
	}
	var path tlog.RecordProof
	for _, line := range lines[2:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return 0, none, err
		}
		path = append(path, hash)
	}
	size, root, err := checkpoint([]byte(signed), vkeyFile)
	if err != nil {
		return 0, none, err
	}
	if err := tlog.CheckRecord(path, size, root, index, tlog.RecordHash(entry)); err != nil {
		return 0, none, err
	}
	return index, root, nil
}

// grows checks that the log in a directory begins with the one of an older signed head.
func grows(oldFile, directory, vkeyFile string) (int64, tlog.Hash, error) {
	var none tlog.Hash
	raw, err := os.ReadFile(oldFile)
	if err != nil {
		return 0, none, err
	}
	older, olderRoot, err := checkpoint(raw, vkeyFile)
	if err != nil {
		return 0, none, err
	}
	size, root, err := verify(directory, vkeyFile)
	if err != nil {
		return 0, none, err
	}
	if size < older {
		return 0, none, fmt.Errorf("the log has %d entries, a head over %d was signed", size, older)
	}
	if older == 0 {
		return size, root, nil
	}
	tiles := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, files{directory})
	path, err := tlog.ProveTree(size, older, tiles)
	if err != nil {
		return 0, none, err
	}
	if err := tlog.CheckTree(path, size, root, older, olderRoot); err != nil {
		return 0, none, err
	}
	return size, root, nil
}

func verify(directory, vkeyFile string) (int64, tlog.Hash, error) {
	var none tlog.Hash
	raw, err := os.ReadFile(filepath.Join(directory, "checkpoint"))
	if err != nil {
		return 0, none, err
	}
	size, claimed, err := checkpoint(raw, vkeyFile)
	if err != nil {
		return 0, none, err
	}

	// Only the entries count: every stored hash is computed from them anew.
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			if index < 0 || index >= int64(len(hashes)) {
				return nil, errors.New("no such hash")
			}
			found[i] = hashes[index]
		}
		return found, nil
	})
	for first := int64(0); first < size; first += 256 {
		width := min(256, size-first)
		tile := tlog.Tile{H: 8, L: -1, N: first / 256, W: int(width)}
		// Go names data tiles tile/8/data/…; tlog-tiles leaves the height out.
		path := strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)
		data, err := os.ReadFile(filepath.Join(directory, filepath.FromSlash(path)))
		if err != nil {
			return 0, none, err
		}
		for n := first; n < first+width; n++ {
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				return 0, none, fmt.Errorf("entry %d is cut off", n)
			}
			length := int(binary.BigEndian.Uint16(data))
			more, err := tlog.StoredHashes(n, data[2:2+length], reader)
			if err != nil {
				return 0, none, err
			}
			hashes = append(hashes, more...)
			data = data[2+length:]
		}
		if len(data) != 0 {
			return 0, none, errors.New("a bundle holds more than its width")
		}
	}
	root, err := tlog.TreeHash(size, reader)
	if err != nil {
		return 0, none, err
	}
	if root != claimed {
		return 0, none, errors.New("the entries do not have the signed root")
	}
	// The tiles of hashes must be authentic too, by proof from the signed root.
	tiles := tlog.TileHashReader(tlog.Tree{N: size, Hash: claimed}, files{directory})
	for n := int64(0); n < size; n++ {
		index := tlog.StoredHashIndex(0, n)
		read, err := tiles.ReadHashes([]int64{index})
		if err != nil {
			return 0, none, err
		}
		if read[0] != hashes[index] {
			return 0, none, fmt.Errorf("the tile's hash of entry %d is another", n)
		}
	}
	return size, root, nil
}

// files reads tiles from a directory.
type files struct{ directory string }

func (f files) Height() int { return 8 }

func (f files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(f.directory, filepath.FromSlash(path)))
		if err != nil {
			// A partial tile may have grown; its beginning is the same.
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func (f files) SaveTiles([]tlog.Tile, [][]byte) {}
