"""Answers to the exercises of steps 8 and 10: right ones in ways of their own, wrong ones with what they are told."""

RIGHT = []
WRONG = []
