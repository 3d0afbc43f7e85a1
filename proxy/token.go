package proxy

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/entrepot/entrepot/proxy/access"
	"github.com/valyala/fasthttp"
)

const formLimit = 8 << 10 // bytes. Everybody may send one, and it is read into memory

// tokenAnswer is that of the token specification of the registries and of OAuth2. Clients read either of the two names.
type tokenAnswer struct {
	Token       string `json:"token"`
	AccessToken string `json:"access_token"`
	ExpiresIn   int    `json:"expires_in"` // seconds
	IssuedAt    string `json:"issued_at"`
	Scope       string `json:"scope,omitempty"`
}

// token gives a token to whoever proves who they are by name and password, and one of nobody in particular to everybody else.
func (c *call) token() error {
	args := c.ctx.QueryArgs()
	if len(c.ctx.Request.Header.Peek("Authorization")) == 0 {
		return c.logIn("", "", args)
	}
	user, password, ok := c.basic()
	if !ok || user == "" && password == "" {
		return errNoLogin()
	}
	return c.logIn(user, password, args)
}

func errNoLogin() error {
	return &access.Refusal{Reason: access.WrongLogin, Message: "a token takes a user name and a password"}
}

// oauth2Token is token as OAuth2 has it: everything is in a form. There are no refresh tokens: one would be a second
// password, which lives on when the first is changed.
func (c *call) oauth2Token() error {
	form, err := c.form()
	if err != nil {
		return err
	}
	switch kind := string(form.Peek("grant_type")); kind {
	case "password":
		user, password := string(form.Peek("username")), string(form.Peek("password"))
		if user == "" && password == "" {
			return errNoLogin()
		}
		return c.logIn(user, password, form)
	case "refresh_token":
		return &access.Refusal{Reason: access.WrongLogin, Message: "there are no refresh tokens here; log in with a user name and a password"}
	}
	return &Error{Code: CodeUnsupported, Status: http.StatusBadRequest, Message: "grant_type is password"}
}

func (c *call) form() (*fasthttp.Args, error) {
	body, err := c.openWhole()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(body, formLimit+1))
	if err != nil {
		return nil, err
	}
	if len(text) > formLimit {
		return nil, &Error{Code: CodeSizeInvalid, Status: http.StatusRequestEntityTooLarge, Message: "a form has 8 KiB at most; a token for more scopes is asked for by GET"}
	}
	form := new(fasthttp.Args)
	form.ParseBytes(text)
	return form, nil
}

func (c *call) logIn(user, password string, args *fasthttp.Args) error {
	client, _ := c.client()
	request := access.LoginRequest{User: user, Password: password, From: client}
	for _, scope := range args.PeekMulti("scope") {
		request.Scopes = append(request.Scopes, string(scope))
	}
	token, err := c.server.o.Access.Login(request)
	c.auditLogin(user, token, err)
	if err != nil {
		return err
	}
	var failed *access.Refusal
	if errors.As(token.Failed, &failed) {
		c.server.o.Access.Refused(failed.Reason)
	}
	c.set("Cache-Control", "no-store")
	return c.sendJSON("application/json", tokenAnswer{
		Token: token.Text, AccessToken: token.Text, ExpiresIn: int(token.Expires.Sub(token.Issued).Seconds()),
		IssuedAt: token.Issued.UTC().Format(time.RFC3339), Scope: strings.Join(request.Scopes, " "),
	})
}
