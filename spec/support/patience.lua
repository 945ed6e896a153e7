-- How long tests wait, in seconds. A machine whose time is shared with others stands still for a second now and then,
-- so no test takes it for granted that something is quick: that is for `make bench`.

return {
  -- What must happen has happened by then. Only a failing test waits so long.
  limit = 30,
  -- What ends early has ended by then; what would end it otherwise takes longer (gRPC's own connect timeout: 20 s).
  soon = 15,
}
