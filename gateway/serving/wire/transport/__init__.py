"""How bytes reach the services: the interface of a transport and its implementations."""
