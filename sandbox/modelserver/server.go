package main

import (
	"encoding/json"
	"fmt"
	"log"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

const streamInterval = 100 * time.Millisecond // between the pieces of a streamed answer

type server struct {
	settings
	started                          time.Time
	asked, running, succeeded, toxic atomic.Int64
	tokens                           atomic.Int64
}

func newServer(settings settings) *server {
	return &server{settings: settings, started: time.Now()}
}

func (s *server) routes() http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	routes.HandleFunc("GET /version", func(answer http.ResponseWriter, _ *http.Request) {
		write(answer, map[string]any{"version": s.version})
	})
	routes.HandleFunc("GET /v1/models", s.models)
	routes.HandleFunc("GET /metrics", s.metrics)
	routes.HandleFunc("POST /v1/chat/completions", s.chat)
	return routes
}

func (s *server) models(answer http.ResponseWriter, _ *http.Request) {
	model := map[string]any{
		"id": s.model, "object": "model", "created": s.started.Unix(), "owned_by": "sandbox", "root": s.version,
	}
	write(answer, map[string]any{"object": "list", "data": []any{model}})
}

// chat answers as OpenAI's chat completions do; `system_fingerprint` is the model's version.
func (s *server) chat(answer http.ResponseWriter, request *http.Request) {
	var asked struct {
		Stream bool `json:"stream"`
	}
	if err := json.NewDecoder(request.Body).Decode(&asked); err != nil {
		http.Error(answer, fmt.Sprintf(`{"error": {"message": %q}}`, err), http.StatusBadRequest)
		return
	}
	s.running.Add(1)
	defer s.running.Add(-1)
	said := s.words()
	if !pause(request.Context(), s.slow) {
		return
	}
	id := fmt.Sprintf("chatcmpl-%d", s.asked.Load())
	if asked.Stream {
		s.streamed(answer, request, id, said)
		return
	}
	s.succeeded.Add(1)
	s.tokens.Add(int64(len(strings.Fields(said))))
	message := map[string]any{"role": "assistant", "content": said}
	choice := map[string]any{"index": 0, "message": message, "finish_reason": "stop"}
	write(answer, s.completion(id, "chat.completion", choice))
}

func (s *server) streamed(answer http.ResponseWriter, request *http.Request, id, said string) {
	answer.Header().Set("Content-Type", "text/event-stream")
	words := strings.Fields(said)
	pieces := max(1, int(s.settings.stream/streamInterval))
	for number := range pieces {
		delta := map[string]any{"role": "assistant", "content": words[number%len(words)] + " "}
		choice := map[string]any{"index": 0, "delta": delta, "finish_reason": nil}
		if !s.event(answer, s.completion(id, "chat.completion.chunk", choice)) ||
			!pause(request.Context(), streamInterval) {
			log.Printf("stream %s ended after %d of %d pieces", id, number, pieces)
			return
		}
		s.tokens.Add(1)
	}
	s.event(answer, s.completion(id, "chat.completion.chunk",
		map[string]any{"index": 0, "delta": map[string]any{}, "finish_reason": "stop"}))
	_, _ = fmt.Fprint(answer, "data: [DONE]\n\n")
	s.succeeded.Add(1)
}

func (s *server) event(answer http.ResponseWriter, content map[string]any) bool {
	encoded, err := json.Marshal(content)
	if err != nil {
		return false
	}
	_, err = fmt.Fprintf(answer, "data: %s\n\n", encoded)
	return err == nil && http.NewResponseController(answer).Flush() == nil
}

func (s *server) completion(id, object string, choice map[string]any) map[string]any {
	return map[string]any{
		"id": id, "object": object, "created": time.Now().Unix(), "model": s.model,
		"system_fingerprint": s.version, "choices": []any{choice},
	}
}

// words is the next answer. Toxic ones are spread evenly, so that a share is exact and no test depends on luck.
func (s *server) words() string {
	count := float64(s.asked.Add(1))
	if math.Floor(count*s.settings.toxic) > math.Floor((count-1)*s.settings.toxic) {
		s.toxic.Add(1)
		log.Printf("toxic answer given by version %s", s.version)
		return "TOXIC: something nobody should have been told"
	}
	return "a helpful and harmless answer"
}

// metrics has vLLM's names, and one counter of our own.
func (s *server) metrics(answer http.ResponseWriter, _ *http.Request) {
	answer.Header().Set("Content-Type", "text/plain; version=0.0.4")
	model := fmt.Sprintf("{model_name=%q}", s.model)
	finished := fmt.Sprintf("{finished_reason=%q,model_name=%q}", "stop", s.model)
	for _, row := range []struct {
		name, kind, labels string
		value              int64
	}{
		{"vllm:num_requests_running", "gauge", model, s.running.Load()},
		{"vllm:num_requests_waiting", "gauge", model, 0},
		{"vllm:request_success_total", "counter", finished, s.succeeded.Load()},
		{"vllm:generation_tokens_total", "counter", model, s.tokens.Load()},
		{"sandbox:toxic_answers_total", "counter", model, s.toxic.Load()},
	} {
		_, _ = fmt.Fprintf(answer, "# TYPE %s %s\n%s%s %d\n", row.name, row.kind, row.name, row.labels, row.value)
	}
}

func write(answer http.ResponseWriter, content any) {
	answer.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(answer).Encode(content)
}
