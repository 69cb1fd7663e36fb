// Answers with its process and the path; /slow takes a moment, so that there is something to finish.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			time.Sleep(200 * time.Millisecond)
		}
		fmt.Fprintf(w, "%d %s\n", os.Getpid(), r.RequestURI)
	})
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)

	fd, err := strconv.Atoi(os.Getenv("EINHORN_FD_0"))
	check(err)
	listener, err := net.FileListener(os.NewFile(uintptr(fd), "einhorn"))
	check(err)
	check(ack())

	// Serve comes back as soon as the listener is closed, while answers are still under way; Shutdown waits for them.
	go func() {
		<-told
		listener.Close()
	}()
	server := &http.Server{}
	server.Serve(listener)
	check(server.Shutdown(context.Background()))
}

// Tells einhyrningsins that this process serves.
func ack() error {
	master, err := net.Dial("unix", os.Getenv("EINHORN_SOCK_PATH"))
	if err != nil {
		return err
	}
	defer master.Close()
	_, err = fmt.Fprintf(master, "{\"command\":\"worker:ack\",\"pid\":%d}\n", os.Getpid())
	return err
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
