"""How the service stands what happens to it over time: the load of many users, each of whose writes has to be kept."""
