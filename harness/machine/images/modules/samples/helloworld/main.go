// Command helloworld answers as the Istio sample of that name does: who it is, and of which version.
//
// Told to end it listens no more, and answers what is under way, as the sample's web server does.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	version := os.Getenv("SERVICE_VERSION")
	instance, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/hello", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "Hello version: %s, instance: %s\n", version, instance)
	})
	http.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "Helloworld is healthy")
	})
	server := &http.Server{Addr: ":5000"}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	answered := make(chan error, 1)
	go func() {
		<-signals
		answered <- server.Shutdown(context.Background())
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	if err := <-answered; err != nil {
		log.Fatal(err)
	}
}
