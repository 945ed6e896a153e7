-- A Lua client in a process of its own: client.lua GROUP WHAT TARGET CA_FILE|- ARGUMENTS…
-- Calls the function WHAT of spec.bench.GROUP's `client` with a connection's options and the arguments, and prints the
-- name=value pairs of the table that it returns, with the resident memory.

local meter = require "spec.bench.meter"

local group, what, target, ca_file = table.unpack(arg, 1, 4)
local connection = { target = target, auth = false, plaintext = ca_file == "-" or nil }
if ca_file ~= "-" then connection.tls = { ca_file = ca_file } end

local values = {}
for i = 5, #arg do values[#values + 1] = tonumber(arg[i]) or arg[i] end

local result = require("spec.bench." .. group).client[what](connection, table.unpack(values))
result.rss = result.rss or meter.resident()
meter.print(result)
os.exit(0, false) -- what is open is the system's to close, as in the bare client
