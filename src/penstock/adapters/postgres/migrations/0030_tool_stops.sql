-- Stops by tool and by environment.
SELECT;
