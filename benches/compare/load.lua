-- Load for wrk: wrk -s load.lua URL -- MODE SIZE RUN
--   get        GET of the URL
--   many       GET of paths picked at random from the file SIZE, one a line
--   put        PUT of SIZE unique bytes to a new path below the URL
--   multipart  POST of SIZE unique bytes to the URL as the form's part "file"
-- RUN, unlike in every other run, keeps contents and paths of one run apart from the
-- next one's. Prints its result as one line of JSON behind the word RESULT.

local threads = 0

function setup(thread)
    thread:set("thread_id", threads)
    threads = threads + 1
end

local HEAD = "--larder-boundary\r\n"
    .. 'Content-Disposition: form-data; name="file"; filename="small.bin"\r\n'
    .. "Content-Type: application/octet-stream\r\n\r\n"
local TAIL = "\r\n--larder-boundary--\r\n"

local function unique(run, size)
    local count = 0
    local padding = string.rep("x", size)
    return function()
        count = count + 1
        local name = string.format("%s-%d-%d", run, thread_id, count)
        return name, (name .. padding):sub(1, size)
    end
end

function init(args)
    local mode, size, run = args[1], tonumber(args[2]), args[3]
    if mode == "many" then
        local paths = {}
        for path in io.lines(args[2]) do
            paths[#paths + 1] = path
        end
        math.randomseed(thread_id + 1)
        request = function()
            return wrk.format("GET", paths[math.random(#paths)])
        end
        return
    end
    local base = wrk.path
    local next_content = unique(run, size)
    if mode == "put" then
        request = function()
            local name, content = next_content()
            return wrk.format("PUT", base .. name, nil, content)
        end
    elseif mode == "multipart" then
        local headers = { ["Content-Type"] = "multipart/form-data; boundary=larder-boundary" }
        request = function()
            local _, content = next_content()
            return wrk.format("POST", base, headers, HEAD .. content .. TAIL)
        end
    end
end

function done(summary, latency)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.timeout
    io.write(string.format(
        'RESULT {"per_second": %.1f, "failed": %d, "refused": %d, "p50_ms": %.3f, "p99_ms": %.3f}\n',
        summary.requests / summary.duration * 1e6,
        failed,
        errors.status,
        latency:percentile(50) / 1000,
        latency:percentile(99) / 1000
    ))
end
