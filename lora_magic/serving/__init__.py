"""A small endpoint on loopback in OpenAI's form: HTTP and JSON; knows no model and no session."""
