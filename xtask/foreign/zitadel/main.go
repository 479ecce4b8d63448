// zitadel/oidc with the storage and the pages of its own example, one client and one person.
package main

import (
	"log"
	"log/slog"
	"net/http"
	"os"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
)

type alice struct{ storage.User }

func (a *alice) GetUserByID(id string) *storage.User {
	if id != a.ID {
		return nil
	}
	return &a.User
}

func (a *alice) GetUserByUsername(name string) *storage.User {
	if name != a.Username {
		return nil
	}
	return &a.User
}

func (*alice) ExampleClientID() string {
	return storage.ServiceUserID
}

func main() {
	storage.RegisterClients(
		storage.WebClient(os.Getenv("CLIENT_ID"), os.Getenv("CLIENT_SECRET"), os.Getenv("REDIRECT_URI")),
	)
	person := &alice{storage.User{
		ID: "7", Username: "alice", Password: os.Getenv("PASSWORD"),
		Email: "alice@example.com", EmailVerified: true,
	}}
	server := exampleop.SetupServer(os.Getenv("ISSUER"), storage.NewStorage(person), slog.Default(), false)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), server))
}
