"""The one door: signs people in, decides who may do what, and passes calls on to the services."""
