-- What a Lua client measures of itself, as the bare client does: rate, CPU of all threads, resident memory.

local core = require "wgtwo.core"

local meter = {}

--- Resident memory in kB.
function meter.resident()
  for line in io.lines("/proc/self/status") do
    local kilobytes = line:match("^VmRSS:%s*(%d+)")
    if kilobytes then return tonumber(kilobytes) end
  end
  error("no VmRSS in /proc/self/status")
end

--- Now: wall time and the CPU time of the whole process, in seconds.
function meter.look()
  return { wall = core.now(), cpu = os.clock() }
end

--- What `n` events or calls since `from` come to: `rate` a second, `cpu` in microseconds each.
function meter.rate(n, from)
  local to = meter.look()
  return { n = n, rate = n / (to.wall - from.wall), cpu = (to.cpu - from.cpu) / n * 1e6 }
end

--- Percentiles of times in seconds, in microseconds.
function meter.percentiles(times)
  table.sort(times)
  return times[#times // 2 + 1] * 1e6, times[#times * 99 // 100 + 1] * 1e6
end

--- Prints a result's name=value pairs on one line.
function meter.print(result)
  for name, value in pairs(result) do io.write(("%s=%.10g "):format(name, value)) end
  io.write("\n")
  io.flush()
end

return meter
