"""The rooms of GMAI-VL Ops; see DESIGN in the README for who may import whom."""
