-- Values that filters have put tokens in the place of are payloads of their subject, at addresses of their own: there is
-- nothing to add.
SELECT 1;
