"""Links, addresses, firewall, Services and names of containers. Addresses are given: nothing here invents one."""
