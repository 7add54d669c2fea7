-- Releases that are reviewed, rolled out and rolled back.
SELECT;
