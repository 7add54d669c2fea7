-- Values that filters have put tokens in the place of.
SELECT;
