"""Answers to the exercises of steps 3 to 5: right ones in ways of their own, wrong ones with what they are told."""

RIGHT = []
WRONG = []
