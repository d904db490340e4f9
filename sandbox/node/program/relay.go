package main

import (
	"errors"
	"io"
	"log"
	"net"
	"os"
)

// runRelay brings the API server, which listens on the loopback only, to the node's side of the machine:
//
//	relay LISTEN TARGET    both host:port
func runRelay() error {
	if len(os.Args) != 3 {
		return errors.New("usage: node relay LISTEN TARGET")
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		return err
	}
	for {
		near, err := listener.Accept()
		if err != nil {
			return err
		}
		go relay(near, os.Args[2])
	}
}

// relay ends both connections when either end is done: a half-open one would hide that the server is gone.
func relay(near net.Conn, target string) {
	defer near.Close()
	far, err := net.Dial("tcp", target)
	if err != nil {
		log.Printf("relay: %v", err)
		return
	}
	defer far.Close()
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		go func() {
			_, _ = io.Copy(way[0], way[1])
			ended <- struct{}{}
		}()
	}
	<-ended
}
