// Command goverify checks an exported log with Go's own implementation of signed notes and tile
// trees: goverify DIRECTORY VKEY_FILE. It shares nothing with the product.
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
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: goverify DIRECTORY VKEY_FILE")
		os.Exit(2)
	}
	size, root, err := verify(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "WRONG:", err)
		os.Exit(1)
	}
	fmt.Printf("%d %x\n", size, root[:])
}

func verify(directory, vkeyFile string) (int64, tlog.Hash, error) {
	var none tlog.Hash
	vkey, err := os.ReadFile(vkeyFile)
	if err != nil {
		return 0, none, err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(vkey)))
	if err != nil {
		return 0, none, err
	}
	raw, err := os.ReadFile(filepath.Join(directory, "checkpoint"))
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
	var claimed tlog.Hash
	copy(claimed[:], decoded)

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
