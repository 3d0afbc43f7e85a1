package ui

// advice is what a failure page says beside the message.
type advice struct {
	Heading string
	Do      []string // sentences
	Login   bool     // logging in may help
}

// adviceFor gives what can be done about a status.
func adviceFor(status int) advice {
	switch status {
	case 400:
		return advice{Heading: "That address makes no sense", Do: []string{"Check the name for typing errors: repositories are written in small letters, and a tag follows a colon."}}
	case 401:
		return advice{Heading: "Nobody is logged in", Do: []string{"Press Log in: the browser asks for what docker login takes."}, Login: true}
	case 403:
		return advice{Heading: "This is not for you to see or do", Login: true,
			Do: []string{"Log in as somebody who may.", "Ask whoever runs this server to allow it in the policy."}}
	case 404:
		return advice{Heading: "Nothing of that name is here", Login: true, Do: []string{
			"Look for it in the list of repositories: a cached image appears there once somebody has pulled it.",
			"What you may not see is not listed either. Logging in may show more."}}
	case 405:
		return advice{Heading: "That cannot be done here", Do: []string{"Go back, and use the buttons and links of the page."}}
	case 429:
		return advice{Heading: "Too many requests", Do: []string{"Wait a minute, then load the page again."}}
	case 502, 503, 504:
		return advice{Heading: "Not available right now", Do: []string{"Load the page again in a moment.",
			"If it stays so, the server's log says why: look for lines of level ERROR and WARN."}}
	default:
		return advice{Heading: "The page could not be made", Do: []string{"Load the page again.",
			"If it stays so, the server's log says why: look for lines of level ERROR.", "Pulls and pushes do not depend on this page."}}
	}
}
