"""Who may do what: roles, bindings and what follows from them. Pure."""
