// Command modelserver looks like a model server: OpenAI's API in front, vLLM's metrics behind, no model inside.
// What it does wrong is said by its environment (see settings). With `call` it is a client.
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// settings: seconds may have a fraction.
type settings struct {
	address       string
	model         string        // MODEL_NAME
	version       string        // MODEL_VERSION
	toxic         float64       // TOXIC: the share of answers that are, 0 to 1
	slow          time.Duration // SLOW: seconds before an answer begins
	stream        time.Duration // STREAM_SECONDS: how long a stream lasts
	ignoreSIGTERM bool          // IGNORE_SIGTERM=1
}

func main() {
	log.SetFlags(log.LstdFlags | log.Lmicroseconds | log.LUTC)
	if len(os.Args) > 1 && os.Args[1] == "call" {
		os.Exit(call(os.Args[2:]))
	}
	settings := settings{
		address:       ":" + text("PORT", "8000"),
		model:         text("MODEL_NAME", "sandbox-chat"),
		version:       text("MODEL_VERSION", "1"),
		toxic:         number("TOXIC", 0),
		slow:          seconds("SLOW", 0),
		stream:        seconds("STREAM_SECONDS", 1),
		ignoreSIGTERM: text("IGNORE_SIGTERM", "") == "1",
	}
	serve(settings)
}

func serve(settings settings) {
	server := newServer(settings)
	running := &http.Server{Addr: settings.address, Handler: server.routes(), ReadHeaderTimeout: time.Minute}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		for received := range signals {
			if settings.ignoreSIGTERM {
				log.Printf("%v ignored", received)
				continue
			}
			log.Printf("last words: %v after %d answers, %d of them toxic, %d requests running; model %s version %s",
				received, server.succeeded.Load(), server.toxic.Load(), server.running.Load(),
				settings.model, settings.version)
			// Long streams are not waited for: a server that is told to end ends.
			_ = running.Close()
		}
	}()
	log.Printf("serving model %s version %s at %s", settings.model, settings.version, settings.address)
	if err := running.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatalf("last words: %v", err)
	}
}

// pause waits, unless the client goes first.
func pause(ctx context.Context, duration time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(duration):
		return true
	}
}

func text(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func number(name string, otherwise float64) float64 {
	value, err := strconv.ParseFloat(text(name, strconv.FormatFloat(otherwise, 'g', -1, 64)), 64)
	if err != nil {
		log.Fatalf("last words: %s is no number: %v", name, err)
	}
	return value
}

func seconds(name string, otherwise float64) time.Duration {
	return time.Duration(number(name, otherwise) * float64(time.Second))
}
