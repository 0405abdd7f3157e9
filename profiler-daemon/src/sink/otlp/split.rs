//! Requests small enough for their receivers.

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use prost::Message;

use super::build::{Part, Source};
use super::rows::Profile;

/// All profiles in as few halvings as it takes. Processes stay whole where they can.
pub(super) fn requests(source: &Source<'_>, profiles: &[Profile]) -> Vec<ExportProfilesServiceRequest> {
    let parts: Vec<Part<'_>> = profiles.iter().map(|profile| Part { profile, rows: &profile.rows, first: 0 }).collect();
    let mut requests = Vec::new();
    if !parts.is_empty() {
        add(source, &parts, &mut requests);
    }
    requests
}

fn add(source: &Source<'_>, parts: &[Part<'_>], requests: &mut Vec<ExportProfilesServiceRequest>) {
    let request = source.request(parts);
    if request.encoded_len() <= source.options.most_bytes {
        requests.push(request);
        return;
    }
    match halves(parts) {
        Some([one, other]) => {
            add(source, &one, requests);
            add(source, &other, requests);
        }
        None => requests.push(source.without_stacks(parts)),
    }
}

/// The parts in two: between processes, else between signals, else between samples. `None` if it is one sample.
fn halves<'a>(parts: &[Part<'a>]) -> Option<[Vec<Part<'a>>; 2]> {
    if let [part] = parts {
        let middle = part.rows.len() / 2;
        let (one, other) = part.rows.split_at(middle);
        let first = Part { rows: one, ..*part };
        let second = Part { rows: other, first: part.first + middle, ..*part };
        return (middle > 0).then(|| [vec![first], vec![second]]);
    }
    let half = parts.iter().map(|part| part.rows.len()).sum::<usize>() / 2;
    let between_processes = |at: &usize| parts[*at - 1].profile.program != parts[*at].profile.program;
    let rows_before = |at: usize| parts[..at].iter().map(|part| part.rows.len()).sum::<usize>();
    let middle = (1..parts.len()).filter(between_processes).min_by_key(|at| rows_before(*at).abs_diff(half));
    let (one, other) = parts.split_at(middle.unwrap_or(1));
    Some([one.to_vec(), other.to_vec()])
}
