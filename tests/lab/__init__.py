"""A lab of real load balancers in network namespaces: it makes the captures and the truth they are judged by."""
