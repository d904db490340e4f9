package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

const account = "/var/run/secrets/kubernetes.io/serviceaccount/"

// call is the smallest client that a test needs inside a pod:
//
//	call [-timeout 2s] [-body JSON] [-token] URL
//
// It prints the answer as it comes and ends with 0 for a status below 400, 1 for others, 2 when there was no whole
// answer. `-token` shows the pod's mounted token and trusts the mounted authority, as a pod does that
// speaks to the API server.
func call(arguments []string) int {
	flags := flag.NewFlagSet("call", flag.ExitOnError)
	timeout := flags.Duration("timeout", 0, "for the whole answer; 0 for none")
	body := flags.String("body", "", "POST this as JSON instead of GET")
	token := flags.Bool("token", false, "speak as the pod's ServiceAccount")
	_ = flags.Parse(arguments)
	request, client, err := prepared(flags.Arg(0), *body, *token, *timeout)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	answer, err := client.Do(request)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	defer answer.Body.Close()
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if answer.StatusCode >= http.StatusBadRequest {
		fmt.Fprintln(os.Stderr, answer.Status)
		return 1
	}
	return 0
}

func prepared(url, body string, token bool, timeout time.Duration) (*http.Request, *http.Client, error) {
	method, content := http.MethodGet, io.Reader(nil)
	if body != "" {
		method, content = http.MethodPost, strings.NewReader(body)
	}
	request, err := http.NewRequest(method, url, content)
	if err != nil {
		return nil, nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	client := &http.Client{Timeout: timeout}
	if !token {
		return request, client, nil
	}
	secret, err := os.ReadFile(account + "token")
	if err != nil {
		return nil, nil, err
	}
	authority, err := os.ReadFile(account + "ca.crt")
	if err != nil {
		return nil, nil, err
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(authority)
	client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}
	request.Header.Set("Authorization", "Bearer "+string(secret))
	return request, client, nil
}
