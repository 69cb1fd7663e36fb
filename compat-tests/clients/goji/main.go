// Answers HTTP on goji's router. goji's bind finds the socket of einhorn's and acks, its graceful hears USR2.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/zenazn/goji/bind"
	"github.com/zenazn/goji/graceful"
	"github.com/zenazn/goji/web"
)

func main() {
	if err := os.WriteFile(fmt.Sprintf("workers/%d", os.Getpid()), nil, 0o644); err != nil {
		log.Fatal(err)
	}

	mux := web.New()
	mux.Get("/:number", func(c web.C, w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%d /%s\n", os.Getpid(), c.URLParams["number"])
	})
	mux.Compile()
	server := &http.Server{Handler: mux}

	// graceful's own end takes a connection on which nothing was read yet for an idle one, and closes it; Go's waits for the
	// request.
	graceful.PreHook(func() { server.Shutdown(context.Background()) })
	graceful.HandleSignals()
	listener := bind.Socket(bind.Sniff())
	bind.Ready()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	graceful.Wait()
}
